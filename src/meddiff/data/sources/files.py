"""Find each image, and its mask, among the files of an archive or folder."""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from meddiff.data.archive import open_archive
from meddiff.data.sources.tables import several
from meddiff.errors import MeddiffError

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".jp2")
MASK_ENDINGS = ("", "_Segmentation", "_mask")


def is_image(name: str) -> bool:
    """Return whether a file's name ends as an image's."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def is_jpeg(path: PurePosixPath) -> bool:
    """Return whether a file's name ends as a JPEG's."""
    return path.suffix.lower() in (".jpg", ".jpeg")


def only_file(names: Iterable[str], ending: str, path: str | Path) -> str:
    """Return the one member of that file name, wherever it stands."""
    found = [name for name in names if PurePosixPath(name).name == ending]
    if len(found) != 1:
        what = f"{len(found)} files" if found else "no file"
        raise MeddiffError(f"{path} holds {what} {ending}: use the data set as published")
    return found[0]


def by_stem(names: Iterable[str]) -> dict[str, list[str]]:
    """Sort names of files by their name without folder and suffix."""
    stems: dict[str, list[str]] = defaultdict(list)
    for name in names:
        stems[PurePosixPath(name).stem].append(name)
    return stems


def match_stems(keys: pd.Series, names: Iterable[str], where: str, folder: str) -> list[str]:
    """Return the one image of each id."""
    stems = by_stem(names)
    found = [stems.get(key, []) for key in keys]
    refuse_missing(keys, [not files for files in found], where, folder)
    refuse_several(keys, found, folder)
    log_ignored(sum(map(len, stems.values())) - len(found), where, folder)
    return [files[0] for files in found]


def match_paths(paths: pd.Series, names: Iterable[str], where: str, folder: str) -> list[str]:
    """Return the image at each path, written the archive's way."""
    known = set(names)
    members = [
        "" if pd.isna(path) else PurePosixPath(path.replace("\\", "/")).as_posix() for path in paths
    ]
    refuse_missing(paths.fillna("no path"), [m not in known for m in members], where, folder)
    log_ignored(len(known.difference(members)), where, folder)
    return members


def with_masks(table: pd.DataFrame, masks: str | Path) -> pd.DataFrame:
    """Add where each image's mask is, `<NA>` where there is none."""
    with open_archive(masks) as archive:
        files = [name for name in archive.names() if name.lower().endswith(".png")]
    paths = {PurePosixPath(name).with_suffix("").as_posix(): [name] for name in files}
    exact = [[f for end in MASK_ENDINGS for f in paths.get(key + end, [])] for key in table["id"]]
    # An id may be longer than the name of its mask: ISIC's carry their edition.
    stems = by_stem(set(files).difference(*exact))
    keys = [PurePosixPath(key).name for key in table["id"]]
    found = [
        whole or [name for end in MASK_ENDINGS for name in stems.get(key + end, [])]
        for key, whole in zip(keys, exact, strict=True)
    ]
    refuse_several(keys, found, str(masks))
    claims = Counter(name for names in found for name in names)
    if shared := [name for name, count in claims.items() if count > 1]:
        remedy = "lay masks out in folders as the images are"
        raise several(f"{masks}: {len(shared)} masks fit more than one image", shared, remedy)
    members = pd.Series([files[0] if files else pd.NA for files in found], dtype="string")
    log.info("%s: %d of %d images have a mask", masks, members.notna().sum(), len(table))
    archives = members.where(members.isna(), str(masks))
    return table.assign(mask_archive=archives, mask_member=members)


def refuse_several(keys: Iterable[str], found: Iterable[list[str]], folder: str) -> None:
    """Refuse ids that more than one file answers to."""
    twice = [
        f"{key} ({', '.join(files)})"
        for key, files in zip(keys, found, strict=True)
        if len(files) > 1
    ]
    if twice:
        remedy = "keep one of each, or name the image in a column of its own"
        raise several(f"{folder} has more than one file for {len(twice)} ids", twice, remedy)


def refuse_missing(keys: pd.Series, missing: Sequence[bool], where: str, folder: str) -> None:
    """Refuse rows of a table whose image is not there."""
    lacking = keys[list(missing)]
    if len(lacking):
        raise several(
            f"{where} has {len(lacking)} rows without an image in {folder}",
            [f"{key} (row {line})" for line, key in lacking.items()],
            "add the images or remove the rows",
        )


def log_ignored(count: int, where: str, folder: str) -> None:
    """Log how many images no row speaks of."""
    if count:
        log.info("ignored %d images of %s without a row in %s", count, folder, where)
