"""A file is whole or absent, and the disk's refusals are explained in one line."""

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from meddiff.errors import MeddiffError
from meddiff.files import atomic_write, sha256_file


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


def test_a_new_file_has_ordinary_permissions(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    with atomic_write(tmp_path / "x") as temporary:
        temporary.touch()
    assert (tmp_path / "x").stat().st_mode == plain.stat().st_mode


def write_bytes(path: Path) -> None:
    path.write_bytes(os.urandom(2 * 2**20))


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
        pytest.raises(
            MeddiffError, match=r"no space left on the disk while writing .*x\.npy: free"
        ),
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
                pytest.raises(
                    MeddiffError, match=r"cannot write .*x\.csv: the folder is read-only"
                ),
                atomic_write(path) as temporary,
            ):
                temporary.write_text("never")


def test_a_folder_or_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder.csv" / "inner").mkdir(parents=True)
    for path in (tmp_path / "file" / "x.csv", tmp_path / "folder.csv"):
        with (
            pytest.raises(
                MeddiffError, match=r"cannot write .*\.csv: a file or folder .* in the way"
            ),
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
