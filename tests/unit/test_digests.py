"""Digests are those of hashlib, and remembered no longer than a file stays as it was."""

import hashlib
import json
import os
import random
from pathlib import Path

import pytest

from meddiff.core.files import BLOCK_BYTES
from meddiff.workflow.provenance.digests import (
    CACHE,
    FOLDERS,
    Digest,
    digest,
    folder_digest,
    remember,
)

WRONG = Digest("0" * 64, "1" * 32, 2)


@pytest.fixture(autouse=True)
def run(tmp_path, monkeypatch):
    """A run directory, with room beside it."""
    folder = tmp_path / "run"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def write(path: str | Path, data: bytes = b"bytes") -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def plant(path: Path) -> None:
    """Put wrong digests into a file's cache entry."""
    entry = CACHE / f"{path}.json"
    entry_data = json.loads(entry.read_text())
    entry.write_text(json.dumps({**entry_data, "digest": WRONG}))


@pytest.fixture
def planted():
    """A file whose cache entry was tampered with after it was read."""
    path = write("models/x.bin")
    assert digest(path) != WRONG
    plant(path)
    return path


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, 2 * BLOCK_BYTES + 1])
def test_digests_are_those_of_hashlib(size):
    data = random.Random(size).randbytes(size)
    path = write("data/x.npy", data)
    expected = Digest(hashlib.sha256(data).hexdigest(), hashlib.md5(data).hexdigest(), size)
    assert digest(path) == digest(str(path)) == digest(path, full=True) == expected


def test_a_file_that_did_not_change_is_not_read_again(planted):
    assert digest(planted) == WRONG


def test_a_full_look_sees_through_the_cache_and_mends_it(planted):
    true = Digest(hashlib.sha256(b"bytes").hexdigest(), hashlib.md5(b"bytes").hexdigest(), 5)
    assert digest(planted, full=True) == true
    assert digest(planted) == true


def touch(path: Path) -> None:
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def append(path: Path) -> None:
    status = path.stat()
    path.write_bytes(path.read_bytes() + b"+")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace(path: Path) -> None:
    status = path.stat()
    other = write(f"{path}.other", b"BYTES")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize("change", [touch, append, replace])
def test_another_time_size_or_inode_has_a_file_read_again(planted, change):
    change(planted)
    assert digest(planted).sha256 == hashlib.sha256(planted.read_bytes()).hexdigest()


def test_only_full_sees_bytes_that_changed_under_the_same_size_and_time():
    path = write("x")
    before, status = digest(path), path.stat()
    path.write_bytes(b"BYTES")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert digest(path) == before != digest(path, full=True)


def test_a_file_that_changes_while_it_is_read_is_not_remembered(monkeypatch):
    """The bytes that were read belong to neither state."""
    path = write("x")

    def read(file: Path) -> Digest:
        file.write_bytes(b"longer than before")
        return WRONG

    with monkeypatch.context() as patched:
        patched.setattr("meddiff.workflow.provenance.digests._read", read)
        assert digest(path) == WRONG
    assert not (CACHE / "x.json").exists()
    assert digest(path).sha256 == hashlib.sha256(b"longer than before").hexdigest()


def test_what_was_known_of_a_file_that_changes_while_it_is_read_is_not_believed(monkeypatch):
    path = write("x")
    digest(path)
    write("x", b"second")

    def read(file: Path) -> Digest:
        touch(file)
        return WRONG

    with monkeypatch.context() as patched:
        patched.setattr("meddiff.workflow.provenance.digests._read", read)
        digest(path)
    assert digest(path).sha256 == hashlib.sha256(b"second").hexdigest()


def test_what_is_remembered_holds_for_the_files_present_state():
    path = write("x")
    touch(path)
    remember(path, WRONG)
    assert digest(path) == WRONG
    touch(path)
    assert digest(path) != WRONG


def test_files_outside_the_working_directory_are_not_remembered(run):
    write("x")
    outside = write("../outside.bin")
    for path in (run / "x", outside, outside.resolve(), Path("deep/../x")):
        (run / "deep").mkdir(exist_ok=True)
        assert digest(path).size == 5
        remember(path, WRONG)
        assert digest(path) != WRONG
    assert not CACHE.exists()
    assert sorted(p.name for p in run.parent.iterdir()) == ["outside.bin", "run"]


BROKEN = ["", "{", "[]", "{}", "null", '{"state": [], "digest": 3}', '{"x.png": []}', "\ufffd"]


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_cache_is_read_anew(text):
    path = write("set/x.png")
    expected, folder = digest(path), folder_digest("set")
    write(CACHE / "set/x.png.json", text.encode())
    assert digest(path) == expected
    for cache in FOLDERS.iterdir():
        cache.write_text(text)
    assert folder_digest("set") == folder


def test_a_missing_file_is_an_error_even_if_it_was_known():
    path = write("x")
    digest(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        digest(path)


FILES = {"a.png": b"1", "b.png": b"2", "deep/c.png": b"3"}


def fill(folder: str, names: list[str]) -> str | None:
    for name in names:
        write(f"{folder}/{name}", FILES[name])
    return folder_digest(folder)


def test_a_folders_digest_knows_no_order_and_no_place():
    first = fill("one", sorted(FILES))
    assert first == fill("two", sorted(FILES, reverse=True)) == fill("../far/three", list(FILES))
    assert first == folder_digest(Path("one").resolve())


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "a.png").write_bytes(b"9"),
        lambda folder: (folder / "a.png").rename(folder / "z.png"),
        lambda folder: (folder / "deep/c.png").rename(folder / "c.png"),
        lambda folder: (folder / "d.png").write_bytes(b""),
        lambda folder: (folder / "a.png").unlink(),
    ],
    ids=["byte", "renamed", "moved", "added", "removed"],
)
def test_a_folders_digest_sees_what_changed_and_what_was_changed_back(change):
    folder = Path("set")
    before = fill("set", list(FILES))
    change(folder)
    assert folder_digest(folder) != before
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        path.unlink()
    assert fill("set", list(FILES)) == before


def test_swapped_contents_are_seen():
    before = fill("set", list(FILES))
    write("set/a.png", FILES["b.png"])
    write("set/b.png", FILES["a.png"])
    assert folder_digest("set") != before


def test_times_and_empty_folders_do_not_count():
    before = fill("set", list(FILES))
    touch(Path("set/a.png"))
    Path("set/empty").mkdir()
    assert folder_digest("set") == before


def test_a_folders_files_are_read_once():
    fill("set", list(FILES))
    before = folder_digest("set")
    (cache,) = FOLDERS.iterdir()
    entry_data = json.loads(cache.read_text())
    cache.write_text(json.dumps({**entry_data, "a.png": [entry_data["a.png"][0], WRONG.sha256]}))
    assert folder_digest("set") != before
    touch(Path("set/a.png"))
    assert folder_digest("set") == before


def test_one_file_has_a_folders_digest_too():
    before = folder_digest(write("table.csv", b"a"))
    assert before and before != folder_digest(write("table.csv", b"b"))


def test_what_is_absent_has_no_digest():
    assert folder_digest("absent") is None
    assert not FOLDERS.exists()


def test_a_name_that_is_no_text_counts_like_any_other():
    """Old archives unpack to such names; they must not end the workflow with a traceback."""
    fill("set", list(FILES))
    before = folder_digest("set")
    try:
        Path(os.fsdecode(b"set/\xe4.png")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system has Unicode names only")
    assert folder_digest("set") != before
