"""Archives from a folder of the user's: verified, copied, and never changed."""

import hashlib
from pathlib import Path

import pytest
from pydantic import ValidationError

from meddiff.core.errors import MeddiffError
from meddiff.data.download.local import LocalFile, copy_local, find_local
from meddiff.data.download.verify import Recorded
from meddiff.data.settings import ArchivesSettings

MEDNIST = "mednist/MedNIST.tar.gz"
KAGGLE = "kaggle/2018.zip"


def put(path: Path, data: bytes = b"bytes") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_places_in_their_order(tmp_path: Path) -> None:
    archives = ArchivesSettings(folder="mine", files={MEDNIST: "hands.zip"})
    (tmp_path / "mine").mkdir()
    assert find_local(MEDNIST, archives, tmp_path) is None
    bare = put(tmp_path / "mine/MedNIST.tar.gz")
    assert find_local(MEDNIST, archives, tmp_path) == LocalFile(bare, False)
    whole = put(tmp_path / "mine" / MEDNIST)
    assert find_local(MEDNIST, archives, tmp_path) == LocalFile(whole, False)
    stand_in = put(tmp_path / "mine/hands.zip")
    assert find_local(MEDNIST, archives, tmp_path) == LocalFile(stand_in, True)
    assert find_local(KAGGLE, archives, tmp_path) is None
    assert find_local(MEDNIST, ArchivesSettings(files=archives.files), tmp_path) is None


def test_a_variable_may_name_the_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("ARCHIVES", str(tmp_path))
    put(tmp_path / "2018.zip")
    assert find_local(KAGGLE, ArchivesSettings(folder="$ARCHIVES"), Path("elsewhere"))


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MeddiffError, match=r"^data\.archives\.folder: .*/absent"):
        find_local(KAGGLE, ArchivesSettings(folder="absent"), tmp_path)


def test_a_name_that_no_registry_has_is_corrected() -> None:
    with pytest.raises(ValidationError, match=r"MedNIST\.tgz .*mednist/MedNIST\.tar\.gz"):
        ArchivesSettings(files={"mednist/MedNIST.tgz": "hands.zip"})


def test_a_published_checksum_holds_unless_a_file_stands_in(tmp_path: Path) -> None:
    local, copy = put(tmp_path / "m.tar.gz"), tmp_path / "raw/m.tar.gz"
    md5 = hashlib.md5(b"bytes").hexdigest()
    with pytest.raises(MeddiffError, match=rf"m\.tar\.gz .*{md5}.*data\.archives\.files"):
        copy_local(LocalFile(local, False), MEDNIST, copy, None)
    assert not copy.exists()
    copy_local(LocalFile(local, True), MEDNIST, copy, None)
    assert copy.read_bytes() == local.read_bytes() and not copy.samefile(local)


def test_another_file_than_the_first_is_refused(tmp_path: Path) -> None:
    local, copy = put(tmp_path / "2018.zip"), tmp_path / "raw/2018.zip"
    first = Recorded("0" * 64, "records/2018.json")
    with pytest.raises(MeddiffError, match=r"2018\.zip .*records/2018\.json: .*move"):
        copy_local(LocalFile(local, True), KAGGLE, copy, first)
    assert not copy.exists() and local.exists()
    copy_local(
        LocalFile(local, False), KAGGLE, copy, Recorded(hashlib.sha256(b"bytes").hexdigest(), "x")
    )
    assert copy.exists()
