"""The registry names every download once, and mirrors stand in for its addresses."""

import re
from urllib.parse import urlsplit

import pytest

from conftest import ROOT
from meddiff.core.errors import MeddiffError
from meddiff.data.registry import address_of, by_version, read_registry, registered_files

ARCHIVE = "https://isic-archive.s3.amazonaws.com/challenges"


def test_every_row_is_complete() -> None:
    for name, entry in read_registry().items():
        assert re.fullmatch(r"[\w./-]+", name) and not name.startswith("/") and ".." not in name
        assert entry.version and entry.source and entry.role and entry.licence and entry.citation
        assert urlsplit(entry.address).scheme in ("https", "kaggle")
        assert entry.md5 is None or re.fullmatch(r"[0-9a-f]{32}", entry.md5)
        assert entry.sha256 is None or re.fullmatch(r"[0-9a-f]{8,64}", entry.sha256)


def test_the_sources_of_the_study_are_there() -> None:
    assert {e.version for e in read_registry().values() if e.source == "kaggle"} == (
        {"2018", "2019", "2020"}
    )
    assert set(registered_files("isic", "2016")) == (
        {"train_images", "train_masks", "test_images", "test_masks"}
    )
    for edition in ("2018", "2019", "2020"):
        assert {"images", "diagnoses"} <= set(registered_files("isic", edition))
    assert set(registered_files("mednist")) == {"images"}
    assert {e.source for e in read_registry().values()} >= {"torchvision", "radimagenet"}


def test_the_longest_mirror_counts() -> None:
    file = "isic/2019/ISIC_2019_Training_Input.zip"
    tail = "2019/ISIC_2019_Training_Input.zip"
    assert address_of(file, {}) == f"{ARCHIVE}/{tail}"
    mirrors = {ARCHIVE: "http://a", f"{ARCHIVE}/2019": "http://b", "https://elsewhere": "http://c"}
    assert address_of(file, mirrors) == "http://b/ISIC_2019_Training_Input.zip"
    assert address_of("kaggle/2018.zip", {"kaggle://nischaydnk": "kaggle://me"}) == (
        "kaggle://me/isic-2018-jpg-224x224-resized"
    )


def test_an_unknown_file_is_named() -> None:
    with pytest.raises(MeddiffError, match=r"registry\.csv .*x\.zip: .*mednist/MedNIST\.tar\.gz"):
        address_of("x.zip", {})


def test_files_are_found_wherever_they_lie() -> None:
    paths = [
        "data/raw/published/kaggle/2018.zip",
        "../x/isic/2018/ISIC2018_Task3_Training_Input.zip",
    ]
    assert by_version(paths[:1]) == {"2018": {"images": paths[0]}}
    assert by_version(paths[1:]) == {"2018": {"images": paths[1]}}


def test_the_documentation_shows_the_registry() -> None:
    names = ["file", "version", "source", "megabytes", "checksum", "licence", "citation", "address"]
    lines = [names, ["---"] * len(names)]
    for entry in read_registry().values():
        checksum = "recorded on first fetch"
        if entry.md5 or entry.sha256:
            checksum = f"md5 {entry.md5}" if entry.md5 else f"sha256 {entry.sha256}…"
        size = "" if entry.megabytes is None else f"{entry.megabytes:g}"
        cells = vars(entry) | {"checksum": checksum, "megabytes": size}
        lines.append([cells[name] for name in names])
    page = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    assert page in (ROOT / "docs/data.md").read_text()
