"""Archives are read in place, whole, and without trusting what they say."""

import gzip
import io
import os
import re
import tarfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from meddiff.core.errors import MeddiffError
from meddiff.data.readers import archive as archive_module
from meddiff.data.readers import members as members_module
from meddiff.data.readers import streams
from meddiff.data.readers.archive import open_archive
from meddiff.data.readers.members import map_members
from meddiff.data.sources.files import image_names
from meddiff.workflow.provenance.digests import folder_digest
from meddiff.workflow.provenance.store import LOCAL
from pictures import png, smooth

Writer = Callable[[Path, dict[str, bytes]], Path]

FILES = {
    "top/b.jpg": b"second",
    "top/a.jpg": b"first",
    "top/deep/c.csv": b"id,label\n",
    "empty.txt": b"",
}


def write_folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return path


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as file:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


TARS = {"tar": "w", "tar.gz": "w:gz", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}


@pytest.fixture(params=["folder", "zip", *TARS])
def any_archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "folder":
        return write_folder(tmp_path / "data", FILES)
    if request.param == "zip":
        return write_zip(tmp_path / "data.zip", FILES)
    return write_tar(tmp_path / "data.tar", FILES, TARS[request.param])


def test_every_kind_gives_the_same_names_and_bytes(any_archive: Path) -> None:
    with open_archive(any_archive) as archive:
        assert archive.names() == sorted(FILES)
        assert {name: archive.read(name) for name in reversed(archive.names())} == FILES
        assert sorted(archive.in_order(FILES)) == sorted(FILES)


def test_kind_is_told_by_content_not_by_suffix(tmp_path: Path) -> None:
    misnamed = write_zip(tmp_path / "data.tar.gz", FILES)
    with open_archive(misnamed) as archive:
        assert archive.read("top/a.jpg") == b"first"


def test_a_name_that_is_absent_is_named(any_archive: Path) -> None:
    with open_archive(any_archive) as archive:
        with pytest.raises(MeddiffError, match=r"data.* top/z\.jpg"):
            archive.read("top/z.jpg")
        with pytest.raises(MeddiffError, match=r"data.* top/z\.jpg"):
            archive.in_order(["top/a.jpg", "top/z.jpg"])


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(MeddiffError, match=r"absent\.zip"):
        open_archive(tmp_path / "absent.zip")


@pytest.mark.parametrize("kind", ["zip", *TARS])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_truncated_archives_are_refused(tmp_path: Path, kind: str, share: float) -> None:
    files = {f"{number}.bin": os.urandom(3000) for number in range(20)}
    path = tmp_path / f"data.{kind}"
    if kind == "zip":
        write_zip(path, files)
    else:
        write_tar(path, files, TARS[kind])
    data = path.read_bytes()
    if kind == "tar":
        # The zero padding of a plain tar carries nothing; cut what does.
        data = data.rstrip(b"\0")
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(MeddiffError, match=rf"data\.{kind} .*truncated") as caught:
        open_archive(path)
    assert "delete" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>503</html>",
        bytes(100),
        b"id,label\n1,benign\n",
        png(smooth(9, 9)),
        b"7z\xbc\xaf",
    ],
)
def test_what_is_no_archive_is_named_with_what_is_read(tmp_path: Path, content: bytes) -> None:
    """A table or a single image in a folder's place is the user's own."""
    path = tmp_path / "data.zip"
    path.write_bytes(content)
    with pytest.raises(MeddiffError, match=r"data\.zip .*\.tar\.xz") as caught:
        open_archive(path)
    assert "delete" not in str(caught.value)


@pytest.mark.parametrize("content", [b"\x1f\x8b broken", b"<html>503</html>"])
def test_only_what_the_workflow_made_is_called_deletable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("data/raw/x.tar.gz")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(MeddiffError) as caught:
        open_archive(path)
    assert "rerun" not in str(caught.value)
    record = LOCAL / f"{path}.json"
    record.parent.mkdir(parents=True)
    record.write_text('{"rule": "download"}')
    with pytest.raises(MeddiffError, match="rerun"):
        open_archive(path)


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    files = {"image.jpg": os.urandom(5000)}
    zipped = write_zip(tmp_path / "data.zip", files)
    damaged = bytearray(zipped.read_bytes())
    damaged[2000] ^= 1
    zipped.write_bytes(damaged)
    with open_archive(zipped) as archive, pytest.raises(MeddiffError, match=r"image\.jpg"):
        archive.read("image.jpg")

    tarred = write_tar(tmp_path / "data.tar.gz", files)
    damaged = bytearray(tarred.read_bytes())
    damaged[2000] ^= 1
    tarred.write_bytes(damaged)
    with pytest.raises(MeddiffError, match=r"data\.tar\.gz .*truncated"):
        open_archive(tarred)


def test_a_tar_broken_off_between_members_is_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "data.tar", {"a": b"x" * 512, "b": b"y" * 512}, "w")
    path.write_bytes(path.read_bytes()[:1024])
    with tarfile.open(path) as lenient:
        assert lenient.getnames() == ["a"]
    with pytest.raises(MeddiffError, match=r"data\.tar .*truncated"):
        open_archive(path)


HOSTILE = [
    "/etc/passwd",
    "../outside.jpg",
    "a/../../outside.jpg",
    "C:/x.jpg",
    "a\\..\\x.jpg",
    "\\x.jpg",
    "\\\\host\\x.jpg",
    "C:\\x.jpg",
    "a/..\\..\\x.jpg",
]


@pytest.mark.parametrize("write", [write_zip, write_tar])
@pytest.mark.parametrize("name", HOSTILE)
def test_names_that_leave_the_archive_are_ignored(
    tmp_path: Path, write: Writer, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "data", {name: b"evil", "./good.jpg": b"good"})
    with open_archive(path) as archive:
        assert archive.names() == ["good.jpg"]
        assert archive.read("good.jpg") == b"good"
        with pytest.raises(MeddiffError, match=re.escape(name)):
            archive.read(name)
    assert "skipped 1 " in caplog.text and repr(name) in caplog.text


def test_links_and_devices_are_ignored(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    tar = tmp_path / "data.tar"
    with tarfile.open(tar, "w") as file:
        for name, kind in [
            ("symbolic", tarfile.SYMTYPE),
            ("hard", tarfile.LNKTYPE),
            ("device", tarfile.CHRTYPE),
            ("pipe", tarfile.FIFOTYPE),
        ]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, str(secret)
            file.addfile(info)
    zipped = tmp_path / "data.zip"
    with zipfile.ZipFile(zipped, "w") as file:
        link = zipfile.ZipInfo("symbolic")
        link.external_attr = 0o120777 << 16
        file.writestr(link, str(secret))
    for path in (tar, zipped):
        with open_archive(path) as archive:
            assert archive.names() == []


def test_hidden_files_are_left_out(tmp_path: Path) -> None:
    files = {"a.jpg": b"a", "__MACOSX/._a.jpg": b"?", ".DS_Store": b"?", "d/.git/b.jpg": b"?"}
    for path in (write_folder(tmp_path / "data", files), write_zip(tmp_path / "data.zip", files)):
        with open_archive(path) as archive:
            assert archive.names() == ["a.jpg"]


def test_bombs_and_giants_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zipped = write_zip(tmp_path / "data.zip", {"bomb.jpg": bytes(33 * 2**20), "ok.jpg": b"fine"})
    with open_archive(zipped) as archive:
        assert archive.read("ok.jpg") == b"fine"
        with pytest.raises(MeddiffError, match=r"bomb\.jpg .*bomb"):
            archive.read("bomb.jpg")
    monkeypatch.setattr(archive_module, "MAX_MEMBER_BYTES", 1000)
    for path in (
        write_zip(tmp_path / "big.zip", {"big.jpg": os.urandom(1001)}),
        write_tar(tmp_path / "big.tar", {"big.jpg": os.urandom(1001)}, "w"),
        write_folder(tmp_path / "big", {"big.jpg": os.urandom(1001)}),
    ):
        with open_archive(path) as archive, pytest.raises(MeddiffError, match=r"big\.jpg"):
            archive.read("big.jpg")


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_stream_that_unfolds_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(streams, "MAX_STREAM_BYTES", 2**20)
    path = write_tar(tmp_path / "data.tar", {"zeros": bytes(24 * 2**20)}, mode)
    assert path.stat().st_size < 2**17
    with pytest.raises(MeddiffError, match=r"\bbomb\b"):
        open_archive(path)


def test_a_giant_tar_header_is_refused_before_it_is_read(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 600 * 2**20
    path = tmp_path / "data.tar.gz"
    path.write_bytes(gzip.compress(info.tobuf(tarfile.USTAR_FORMAT) + bytes(10_000)))
    with pytest.raises(MeddiffError, match=r"\bbomb\b"):
        open_archive(path)


def test_an_encrypted_zip_says_so(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "data.zip", {"a.jpg": b"x"})
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with open_archive(path) as archive, pytest.raises(MeddiffError, match=r"data\.zip .*encrypted"):
        archive.read("a.jpg")


def test_members_are_mapped_over_several_archives(tmp_path: Path) -> None:
    """Each result carries its place, whatever the archives' orders and the number of threads."""
    tar = write_tar(tmp_path / "t.tar.gz", {f"{n}": f"t{n}".encode() for n in (3, 1, 2)})
    zipped = write_zip(tmp_path / "z.zip", {f"{n}": f"z{n}".encode() for n in (2, 1)})
    places = [(str(zipped), "1"), (str(tar), "1"), (str(tar), "3"), (str(zipped), "1")]
    for workers in (1, 4):
        results = dict(map_members(lambda place, data: (place, data), places, workers))
        assert results == {0: b"z1", 1: b"t1", 2: b"t3", 3: b"z1"}


def test_a_gzipped_tar_is_read_in_its_own_order_and_only_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once to list it and once to read it: random access would unpack it anew for each member."""
    names = [f"{number:03d}" for number in range(200)]
    path = write_tar(tmp_path / "data.tar.gz", {name: os.urandom(1000) for name in names[::-1]})
    rewinds = []
    seek = gzip.GzipFile.seek

    def count(self: gzip.GzipFile, offset: int, whence: int = os.SEEK_SET) -> int:
        back = seek(self, 0, os.SEEK_CUR) - offset if whence == os.SEEK_SET else 0
        if back > io.DEFAULT_BUFFER_SIZE:
            rewinds.append(back)
        return seek(self, offset, whence)

    monkeypatch.setattr(gzip.GzipFile, "seek", count)
    with open_archive(path) as archive:
        ordered = archive.in_order(names)
        assert ordered == names[::-1]
        assert all(len(archive.read(name)) == 1000 for name in ordered)
    assert len(rewinds) == 1


def test_few_members_are_in_memory_at_a_time(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data", {f"{n:03d}": b"x" for n in range(100)})
    started = []
    gate = threading.Event()

    def hold(place: int, _: bytes) -> int:
        started.append(place)
        gate.wait(5)
        return place

    results = map_members(hold, [(str(folder), f"{n:03d}") for n in range(100)], workers=2)
    threading.Timer(0.2, gate.set).start()
    next(results)
    assert len(started) <= 6
    assert list(results) == list(range(1, 100))


def test_small_members_go_to_the_threads_in_groups(tmp_path: Path) -> None:
    sizes = [members_module.MAX_GROUP_BYTES if number % 100 == 50 else 1 for number in range(2000)]
    files = {f"{number:04}": bytes(size) for number, size in enumerate(sizes)}
    folder = write_folder(tmp_path / "data", files)
    places = [(str(folder), name) for name in files]
    for workers in (1, 3):
        results = list(map_members(lambda place, data: (place, len(data)), places, workers))
        assert results == list(enumerate(sizes))
    groups = list(members_module._grouped(enumerate(files.values()), 16))
    assert max(map(len, groups)) == 16
    assert all(len(data) == 1 for group in groups for _, data in group[:-1])


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path: Path) -> None:
    inner = write_zip(tmp_path / "inner.zip", {"inner.txt": b"x"}).read_bytes()
    path = write_tar(tmp_path / "data.tar", {"a.jpg": b"one", "z.zip": inner}, "w")
    with open_archive(path) as archive:
        assert archive.names() == ["a.jpg", "z.zip"]


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("img/a.jpg", b"one")
        archive.writestr("./img//a.jpg", b"two")
    with (
        pytest.raises(MeddiffError, match=r"img/a\.jpg .*twice"),
        open_archive(tmp_path / "data.zip"),
    ):
        pass


def test_backslashes_part_folders(tmp_path: Path) -> None:
    """As .NET before 4.6.1 writes zips, PowerShell's Compress-Archive among them."""
    files = {"images\\deep\\a.jpg": b"a", "images\\b.jpg": b"b", "images\\empty\\": b""}
    for path in (
        write_zip(tmp_path / "data.zip", files),
        write_folder(tmp_path / "data", dict(list(files.items())[:2])),
    ):
        with open_archive(path) as archive:
            assert archive.names() == ["images/b.jpg", "images/deep/a.jpg"]
            assert archive.read("images/deep/a.jpg") == b"a"


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A folder of links to a file, folders, what is in it, itself, each other and nowhere."""
    folder = write_folder(tmp_path / "data", {"a.jpg": b"one", "deep/c.jpg": b"three"})
    elsewhere = write_folder(tmp_path / "elsewhere", {"b.jpg": b"two", "far/d.jpg": b"four"})
    links = {
        "file.jpg": elsewhere / "b.jpg",
        "folder": elsewhere,
        "deep/latest": elsewhere / "far",
        "best.jpg": folder / "deep/c.jpg",
        "equal.jpg": elsewhere / "b.jpg",
        "newest": folder / "deep",
        "deep/up": folder,
        "again": folder / "again",
        "gone.jpg": tmp_path / "absent.jpg",
        "deep/gone": tmp_path / "absent",
    }
    for name, target in links.items():
        (folder / name).symlink_to(target)
    (elsewhere / "far/back").symlink_to(folder)
    return folder


def test_links_in_a_folder_are_followed(linked: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = {
        "a.jpg": b"one",
        "deep/c.jpg": b"three",
        "deep/latest/d.jpg": b"four",
        "equal.jpg": b"two",
        "file.jpg": b"two",
        "folder/b.jpg": b"two",
    }
    with open_archive(linked) as archive:
        assert archive.names() == list(expected)
    assert dict(map_members(lambda place, data: (list(expected)[place], data),
                            [(str(linked), name) for name in expected])) == expected  # fmt: skip
    nowhere, twice = caplog.messages
    assert all(name in nowhere for name in ("skipped 3 ", "again", "deep/gone", "gone.jpg"))
    assert all(name in twice for name in ("best.jpg", "newest", "deep/up"))


def test_a_folders_digest_sees_what_readers_see(
    linked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = folder_digest(linked)
    write_folder(linked, {".DS_Store": b"?", ".git/x.jpg": b"?"})
    assert folder_digest(linked) == before
    write_folder(tmp_path / "elsewhere", {"far/d.jpg": b"other"})
    assert folder_digest(linked) != before


@pytest.mark.parametrize("read", [open_archive, folder_digest])
def test_a_folder_that_may_not_be_read_is_named(
    linked: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    read: Callable[[Path], object],
) -> None:
    """Root may read all folders, so the refusal is simulated."""
    monkeypatch.chdir(tmp_path)
    scan = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "far":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(MeddiffError, match=r"folder/far .*Permission denied"):
        read(linked)


def test_files_that_are_no_images_by_their_names_are_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    names = ["a.jpg", "b.JFIF", "c.dcm", "d.DCM", "e", "f.heic", "g.tiff"]
    assert image_names(names, "here") == ["a.jpg", "b.JFIF", "c.dcm", "d.DCM", "g.tiff"]
    (line,) = caplog.messages
    assert all(part in line for part in ("2 of 7", "1 .heic", "1 without"))
    caplog.clear()
    assert image_names(["a.jpg"], "here") == ["a.jpg"] and not caplog.messages
    image_names([f"1.2.840.{number}" for number in range(1000)], "here")
    assert "1000 of 1000" in caplog.text and len(caplog.text) < 300
