"""Runs that travel in one zip: the same bytes, images once, nothing else than the records name."""

import contextlib
import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from meddiff.cli import main
from meddiff.core.arrays import save_array
from meddiff.core.errors import MeddiffError
from meddiff.core.files import sha256_file
from meddiff.data.preprocessing.resizing import preprocess
from meddiff.workflow.provenance.recording import describe_file
from meddiff.workflow.provenance.store import LOCAL, read_records, write_record
from meddiff.workflow.sharing.carry import ARRAYS, pack, unpack

RUN = Path("runs/one")
SETS = {
    "data/images/train/benign.npy": (6, 16, 16, 3),
    "data/images/train/hand.npy": (4, 16, 16, 1),
    "data/segmentation/test/masks.npy": (3, 16, 16, 1),
}


def add(path: str, write: Callable[[Path], object], **metadata: object) -> None:
    """Write a file of the run, with its record."""
    with contextlib.chdir(RUN):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write(Path(path))
        write_record(describe_file(path, rule="r", **metadata), LOCAL)


def silent(text: str) -> None:
    """Print nothing."""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a run of noise, whose raw archive and large file stay behind."""
    (home := tmp_path / "home").mkdir()
    monkeypatch.chdir(home)
    RUN.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for path, shape in SETS.items():
        images = rng.integers(0, 256, shape, dtype=np.uint8)
        add(path, lambda file, images=images: save_array(images, file))
    add("results/table_5_1.csv", lambda file: file.write_text("accuracy\n0.5\n"))
    add("models/large.safetensors", lambda file: file.write_bytes(rng.bytes(50_000)))
    add("data/raw/published/2018.zip", lambda file: file.write_bytes(b"archive"))
    add("features/unet/train/benign.npy", lambda file: save_array(np.zeros((99, 99)), file))
    return tmp_path


def packed(largest: int = 20_000) -> Path:
    pack([RUN], Path("carried.zip"), largest=largest, say=silent)
    return Path("carried.zip").absolute()


def elsewhere(run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (away := run / "away").mkdir()
    monkeypatch.chdir(away)
    return away


def test_image_sets_and_tables_come_out_with_their_bytes(run, monkeypatch) -> None:
    carried, home = packed(), Path.cwd()
    away = elsewhere(run, monkeypatch)
    unpack(carried, silent)
    arrived = {str(path.relative_to(RUN)) for path in RUN.rglob("*") if path.is_file()}
    assert {name for name in arrived if not name.startswith(".")} == {
        *SETS, "results/table_5_1.csv",
    }  # fmt: skip
    for name in (*SETS, "results/table_5_1.csv"):
        assert sha256_file(away / RUN / name) == sha256_file(home / RUN / name)
    # Snakemake knows of what stayed behind.
    assert read_records(RUN / LOCAL) == read_records(home / RUN / LOCAL)
    assert not list(away.glob(".unpack-*"))


def test_real_images_are_the_same_bit_for_bit(run, real_images, monkeypatch) -> None:
    """Photographs at 64 px and their grey copies at 32 px, as the study's image sets are."""
    files = sorted((real_images / "images").glob("*.jpg"))[:12]
    pictures = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    lesions = np.stack([preprocess(pixels, crop=None, size=64) for pixels in pictures])
    hands = np.stack([preprocess(pixels[..., :1], crop=450, size=32) for pixels in pictures])
    for name, images in (("lesion", lesions), ("hand", hands)):
        add(f"data/images/train/{name}.npy", lambda file, images=images: save_array(images, file))
    carried, home = packed(), Path.cwd()
    elsewhere(run, monkeypatch)
    unpack(carried, silent)
    for name, images in (("lesion", lesions), ("hand", hands)):
        path = RUN / f"data/images/train/{name}.npy"
        assert np.array_equal(np.load(path), images)
        assert path.read_bytes() == (home / path).read_bytes()


def test_an_image_of_several_sets_and_runs_is_carried_once(run) -> None:
    images = np.load(RUN / "data/images/train/benign.npy")
    add("data/images/test/benign.npy", lambda file: save_array(images[::-1], file))
    with zipfile.ZipFile(packed()) as archive:
        arrays = json.loads(archive.read(ARRAYS))
        places = {name: arrays[f"{RUN}/data/images/{name}/benign.npy"]["images"]
                  for name in ("train", "test")}  # fmt: skip
        assert places["train"] == places["test"][::-1] and len(set(places["test"])) == 6
        names = [name for name in archive.namelist() if name.startswith("images/")]
        strips = [Image.open(archive.open(name)).size for name in names]
    assert sorted(strips) == [(16, 16 * 6), (16, 16 * (4 + 3))]


def test_more_images_than_a_picture_holds_are_several_strips(run, monkeypatch) -> None:
    """A WebP has at most 16,383 px: 15 images of 1,024."""
    images = np.zeros((17, 1024, 2, 3), np.uint8)
    images += np.arange(17, dtype=np.uint8)[:, None, None, None]
    add("data/images/train/tall.npy", lambda file: save_array(images, file))
    carried = packed()
    elsewhere(run, monkeypatch)
    unpack(carried, silent)
    assert np.array_equal(np.load(RUN / "data/images/train/tall.npy"), images)


def test_what_was_made_here_is_set_aside_and_keeps_its_record_where_it_stays(run, monkeypatch):
    carried = packed()
    elsewhere(run, monkeypatch)
    RUN.mkdir(parents=True)
    add("results/table_5_1.csv", lambda file: file.write_text("other\n"))
    add("models/large.safetensors", lambda file: file.write_bytes(b"trained here"))
    unpack(carried, silent)
    assert (RUN / "results/table_5_1.csv").read_text() == "accuracy\n0.5\n"
    [aside] = (RUN / ".snakemake/meddiff/replaced").rglob("table_5_1.csv")
    assert aside.read_text() == "other\n"
    record = read_records(RUN / LOCAL)["models/large.safetensors"]
    assert record.sha256 == sha256_file(RUN / "models/large.safetensors")


def test_the_commands_pack_and_unpack(run, monkeypatch, capsys) -> None:
    assert main(["pack", "carried.zip", str(RUN), "--largest", "0.02"]) == 0
    assert "left out: runs/one/models/large.safetensors" in capsys.readouterr().out
    carried = Path("carried.zip").absolute()
    elsewhere(run, monkeypatch)
    assert main(["unpack", str(carried)]) == 0
    assert "runs/one: 4 files" in capsys.readouterr().out


def test_an_edited_file_is_not_packed(run) -> None:
    (RUN / "results/table_5_1.csv").write_text("edited\n")
    with pytest.raises(MeddiffError, match=r"table_5_1\.csv .*bytes"):
        packed()
    assert not Path("carried.zip").exists()


def test_a_folder_without_records_is_no_run(run) -> None:
    Path("runs/two").mkdir()
    with pytest.raises(MeddiffError, match="runs/two"):
        pack([Path("runs/two")], Path("carried.zip"), largest=0, say=silent)


Edit = Callable[[str, bytes], tuple[str, bytes]]
TABLE = f"{RUN}/results/table_5_1.csv"


def rewritten(source: Path, edit: Edit) -> Path:
    """Copy a zip with members edited."""
    target = source.with_name("edited.zip")
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(*edit(name, old.read(name)))
    return target


def swapped_images(name: str, content: bytes) -> tuple[str, bytes]:
    if name == ARRAYS:
        arrays = json.loads(content)
        arrays[f"{RUN}/data/images/train/benign.npy"]["images"].reverse()
        content = json.dumps(arrays).encode()
    return name, content


def beyond(name: str, content: bytes) -> tuple[str, bytes]:
    if name == ARRAYS:
        arrays = json.loads(content)
        arrays[f"{RUN}/data/images/train/benign.npy"]["images"][0] = 99
        content = json.dumps(arrays).encode()
    return name, content


def outside(name: str, content: bytes) -> tuple[str, bytes]:
    return name.replace(f"{RUN}/{LOCAL}/results", f"../up/{LOCAL}/results"), content


FAULTS: dict[str, Edit] = {
    "another byte": lambda name, c: (name, c.replace(b"0.5", b"0.6") if name == TABLE else c),
    "a longer file": lambda name, c: (name, c + b"x" * 99 if name == TABLE else c),
    "images in another order": swapped_images,
    "an image beyond the strip": beyond,
    "no list of images": lambda name, c: (name.replace(ARRAYS, "other.json"), c),
    "a lacking strip": lambda name, c: (re.sub(r"^images/16x16x3", "images/x", name), c),
    "a path that leads out": outside,
    "a file that is no picture": lambda name, c: (name, b"x" if name.endswith(".webp") else c),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_zip_is_refused_in_one_line_and_changes_nothing(run, monkeypatch, fault) -> None:
    carried = rewritten(packed(), FAULTS[fault])
    away = elsewhere(run, monkeypatch)
    with pytest.raises(MeddiffError, match=r"edited\.zip") as error:
        unpack(carried, silent)
    assert len(str(error.value).splitlines()) == 1
    assert list(away.rglob("*")) == []
    assert not (run / "up").exists()


def of_something_else() -> bytes:
    """Return a zip of other files, such as a crate."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("ro-crate-metadata.json", "{}")
    return buffer.getvalue()


@pytest.mark.parametrize("content", [b"", b"no zip", of_something_else(), None])
def test_what_is_no_zip_of_runs_is_refused(run, content: bytes | None) -> None:
    if content is not None:
        Path("carried.zip").write_bytes(content)
    with pytest.raises(MeddiffError, match=r"carried\.zip"):
        unpack(Path("carried.zip"), silent)
