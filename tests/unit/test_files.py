"""A file is whole or absent, and the disk's refusals are explained in one line."""

import errno
import os
import stat
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from safetensors.numpy import save_file

from fault_server import FaultServer
from meddiff.core.arrays import save_array
from meddiff.core.checkpoints import load_checkpoint, save_checkpoint
from meddiff.core.errors import MeddiffError, first_names, listing_error
from meddiff.core.file_errors import RECORDS
from meddiff.core.files import atomic_write, sha256_file, write_csv, write_text
from meddiff.core.tables import write_metrics, write_table
from meddiff.data.download.http import download as fetch_file
from meddiff.data.phantom.archives import write_mednist
from meddiff.diffusion.importing import import_ddpm
from meddiff.diffusion.settings import DiffusionSettings
from meddiff.reporting.figures.curves import save_figure
from meddiff.workflow.provenance.digests import sha256_here
from meddiff.workflow.provenance.recording import describe_file
from meddiff.workflow.provenance.store import write_record
from plain_user import plain_user


@contextmanager
def tmpfs(folder: Path, options: str) -> Iterator[Path]:
    """Mount a small file system, or skip the test where that is not allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot mount a small file system here: {error}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with tmpfs(tmp_path / "small", "size=1m") as folder:
        yield folder


def test_the_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "x.csv"
    with atomic_write(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
        assert temporary.parent == path.parent and temporary.suffix == ".csv"
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("failure", [ValueError("bad"), KeyboardInterrupt(), MeddiffError("bad")])
def test_the_old_file_survives_a_failure(tmp_path: Path, failure: BaseException) -> None:
    path = tmp_path / "x.csv"
    path.write_text("old")
    with pytest.raises(type(failure)) as caught, atomic_write(path) as temporary:
        temporary.write_text("half")
        raise failure
    assert caught.value is failure
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture(params=[0o022, 0o002, 0o077, 0o027], ids=oct)
def mode(request: pytest.FixtureRequest) -> Iterator[int]:
    """Permissions of a new file under some umask."""
    before = os.umask(request.param)
    yield 0o666 & ~request.param
    os.umask(before)


def put_another_in_its_place(path: Path) -> None:
    """As safetensors does."""
    other = path.with_name("other")
    os.close(os.open(other, os.O_CREAT | os.O_WRONLY, 0o600))
    other.replace(path)


def write_checkpoint(path: Path) -> None:
    save_checkpoint(path, {"x": torch.zeros(2)}, {})


def write_record_of(path: Path) -> None:
    made = path.with_name("made.bin")
    made.write_bytes(b"made")
    record = describe_file(made.as_posix()).model_copy(update={"path": path.stem})
    write_record(record, path.parent)


def write_figure(path: Path) -> None:
    save_figure(Figure(), path)


def write_zip(path: Path) -> None:
    with atomic_write(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr("a", "b")


def download(path: Path) -> None:
    (path.parent / "served").mkdir()
    (path.parent / "served/a").write_bytes(b"content")
    with FaultServer(path.parent / "served") as server:
        fetch_file(f"{server.url}/a", path)


WRITERS: dict[str, Callable[[Path], object]] = {
    "x.csv": lambda path: write_csv(pd.DataFrame({"a": [1]}), path),
    "table.csv": lambda path: write_table(pd.DataFrame({"a": [1]}), path, {"seed": 0}),
    "metrics.json": lambda path: write_metrics(pd.DataFrame({"a": [1]}), path),
    "x.txt": lambda path: write_text("text", path),
    "x.npy": lambda path: save_array(np.zeros(2), path),
    "x.safetensors": write_checkpoint,
    "x.png": write_figure,
    "x.json": write_record_of,
    "x.zip": write_zip,
    "hands.tar.gz": lambda path: write_mednist(path, seed=0, n=1),
    "fetched.bin": download,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_file_has_the_permissions_of_any_new_file(
    tmp_path: Path, mode: int, name: str
) -> None:
    """Else a colleague in the same group could not read what was trained for both."""
    path = tmp_path / name
    WRITERS[name](path)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_whatever_a_writer_puts_there_gets_ordinary_permissions(tmp_path: Path, mode: int) -> None:
    with atomic_write(tmp_path / "x") as temporary:
        put_another_in_its_place(temporary)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == mode


def test_what_may_not_be_read_is_told_so_and_not_as_missing(tmp_path: Path) -> None:
    path = tmp_path / "of_a_colleague.safetensors"
    write_checkpoint(path)
    path.chmod(0)
    for read in (load_checkpoint, import_weights, sha256_here):
        with plain_user(), pytest.raises(MeddiffError, match="permission") as caught:
            read(path)
        assert str(path) in str(caught.value) and "mode 0" in str(caught.value)
        assert "delete" not in str(caught.value)


def import_weights(path: Path) -> None:
    import_ddpm(path, DiffusionSettings(), 3)


def test_only_what_a_rule_made_is_to_be_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("models/x.safetensors")
    write_text("no weights", path)
    with pytest.raises(MeddiffError, match=r"models/x\.safetensors") as caught:
        load_checkpoint(path)
    assert "rerun" not in str(caught.value)
    for rule, remade in ((None, False), ("train", True)):
        write_record(describe_file(str(path)).model_copy(update={"rule": rule}), RECORDS)
        with pytest.raises(MeddiffError) as caught:
            load_checkpoint(path)
        assert ("rerun" in str(caught.value)) == remade


def write_bytes(path: Path) -> None:
    path.write_bytes(b"x" * 2 * 2**20)


def write_array(path: Path) -> None:
    np.save(path, np.zeros(2 * 2**20, np.uint8))


def write_open_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(2 * 2**20, np.uint8))


def write_weights(path: Path) -> None:
    save_file({"x": np.zeros(2 * 2**20, np.uint8)}, path)


@pytest.mark.parametrize("write", [write_bytes, write_array, write_open_array, write_weights])
def test_a_full_disk_is_named_whatever_writes(
    small_disk: Path, write: Callable[[Path], None]
) -> None:
    path = small_disk / "x.npy"
    path.write_text("old")
    with (
        pytest.raises(MeddiffError, match=r"\bspace\b.*x\.npy: free"),
        atomic_write(path) as temporary,
    ):
        write(temporary)
    assert path.read_text() == "old"
    assert list(small_disk.iterdir()) == [path]


def test_a_full_disk_does_not_explain_other_faults(small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(b"")
    with pytest.raises(OSError), (small_disk / "filler").open("wb") as file:
        file.write(bytes(2 * 2**20))
    for fault in (KeyError("column"), FileNotFoundError(errno.ENOENT, "absent", "input.csv")):
        with pytest.raises(type(fault)), atomic_write(small_disk / "x.csv"):
            raise fault


def test_a_read_only_folder_is_named(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "locked", "ro,size=1m") as folder:
        for path in (folder / "x.csv", folder / "new" / "x.csv"):
            with (
                pytest.raises(MeddiffError, match=r"x\.csv: .*read-only.*--directory"),
                atomic_write(path) as temporary,
            ):
                temporary.write_text("never")


def test_a_folder_or_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder.csv" / "inner").mkdir(parents=True)
    for path in (tmp_path / "file" / "x.csv", tmp_path / "folder.csv"):
        with (
            pytest.raises(MeddiffError, match=r"\.csv: .*in the way"),
            atomic_write(path) as temporary,
        ):
            temporary.write_text("never")
    assert (tmp_path / "file").read_text() == "kept"
    assert sorted(tmp_path.iterdir()) == [tmp_path / "file", tmp_path / "folder.csv"]


def test_an_input_that_cannot_be_read_is_not_blamed_on_the_output(tmp_path: Path) -> None:
    forbidden = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "in" / "a.csv"))
    with pytest.raises(PermissionError), atomic_write(tmp_path / "out" / "x.csv"):
        raise forbidden


def test_digest_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_file(tmp_path / "x") == expected


@pytest.mark.parametrize("count", [1, 5, 6, 14])
def test_of_many_names_the_first_are_listed_and_the_others_counted(count: int) -> None:
    names = [f"f{number}" for number in range(count)]
    rest = f" and {count - 5} more" if count > 5 else ""
    assert first_names(names) == ", ".join(names[:5]) + rest
    assert str(listing_error("lost", names, "look")) == f"lost: {first_names(names)}; look"
