"""Find each image, and its mask, among the files of an archive or folder."""

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from meddiff.core.errors import MeddiffError, first_names, listing_error
from meddiff.data.readers.archive import Archive, open_archive
from meddiff.data.readers.dicom import START, is_dicom
from meddiff.data.readers.formats import may_be_dicom, reader_of, without_suffix

log = logging.getLogger(__name__)

JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")
OTHERS = (".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".jp2", ".j2k")
IMAGE_SUFFIXES = (*JPEG_SUFFIXES, *OTHERS)
MASK_ENDINGS = ("_segmentation", "_mask")
"""Optional endings of a mask's name after the id, in any case."""


class Matches(NamedTuple):
    """Files of the rows of a table.

    Attributes:
        members: file of each row, None where there is none.
        rest: files without a row.
    """

    members: list[str | None]
    rest: list[str]


def is_image(name: str) -> bool:
    """Return whether a file's name ends as that of a picture or of another format of images."""
    return name.lower().endswith(IMAGE_SUFFIXES) or reader_of(name) is not None


def is_jpeg(name: str) -> bool:
    """Return whether a file's name ends as a JPEG's."""
    return PurePosixPath(name).suffix.lower() in JPEG_SUFFIXES


def image_files(archive: Archive) -> list[str]:
    """Return the names of an archive's images; DICOM files need no suffix."""
    names = archive.names()
    unclear = archive.in_order([n for n in names if not is_image(n) and may_be_dicom(n)])
    bare = {name for name in unclear if is_dicom(archive.start(name, START))}
    return image_names(names, archive.path, bare)


def image_names(names: Sequence[str], folder: str | Path, more: Collection[str] = ()) -> list[str]:
    """Return the names that end as an image's, and those in `more`; log the others' number."""
    images = [name for name in names if is_image(name) or name in more]
    skipped = {*names}.difference(images)
    others = Counter(PurePosixPath(name).suffix.lower() for name in names if name in skipped)
    if others:
        kinds = [f"{n} {suffix or 'without suffix'}" for suffix, n in others.most_common()]
        message = "%s: skipped %d of %d files, not images by their names: %s"
        log.warning(message, folder, others.total(), len(names), first_names(kinds))
    return images


def only_file(names: Iterable[str], ending: str, path: str | Path) -> str:
    """Return the one member of that file name, in any folder."""
    matches = [name for name in names if PurePosixPath(name).name == ending]
    if len(matches) != 1:
        what = f"{len(matches)} files" if matches else "no file"
        raise MeddiffError(f"{path} holds {what} {ending}: use the data set as published")
    return matches[0]


def by_stem(names: Iterable[str]) -> dict[str, list[str]]:
    """Group names of files by their name without folder and suffix."""
    stems: dict[str, list[str]] = defaultdict(list)
    for name in names:
        stems[PurePosixPath(without_suffix(name)).name].append(name)
    return stems


def jpegs_by_stem(path: str | Path, wanted: str, folder: str | None = None) -> dict[str, str]:
    """Return an archive's JPEGs by their name without folder and suffix.

    Args:
        wanted: how errors name them.
        folder: name of the folder that they lie in, where the archive has others.
    """
    with open_archive(path) as archive:
        names = [name for name in archive.names() if is_jpeg(name)]
    stems = by_stem(n for n in names if folder in (None, PurePosixPath(n).parent.name))
    if not stems:
        raise MeddiffError(f"{path} holds no {wanted}: use the archive as published")
    check_one_file(stems, stems.values(), str(path))
    return {stem: files[0] for stem, files in stems.items()}


def match_stems(
    keys: pd.Series, names: Iterable[str], where: str, folder: str, *, strict: bool = True
) -> Matches:
    """Find the file of each id, by its name without folder and suffix.

    Args:
        strict: whether a row without an image is an error, as it always is where no row has one.
    """
    stems = by_stem(names)
    matches = [stems.get(key, []) for key in keys]
    _check_present(keys, [not files for files in matches], where, folder, strict)
    check_one_file(keys, matches, folder)
    rest = [file for stem in sorted({*stems}.difference(keys)) for file in stems[stem]]
    _log_ignored(len(rest), where, folder)
    return Matches([files[0] if files else None for files in matches], rest)


def match_paths(
    paths: pd.Series, names: Iterable[str], where: str, folder: str, *, strict: bool = True
) -> Matches:
    """Find each path as the archive spells it; else as `match_stems`."""
    existing = set(names)
    members = [
        "" if pd.isna(path) else PurePosixPath(path.replace("\\", "/")).as_posix() for path in paths
    ]
    lacking = [member not in existing for member in members]
    _check_present(paths.fillna("no path"), lacking, where, folder, strict)
    rest = sorted(existing.difference(members))
    _log_ignored(len(rest), where, folder)
    return Matches([m if m in existing else None for m in members], rest)


def with_masks(table: pd.DataFrame, masks: str | Path) -> pd.DataFrame:
    """Add `mask_archive` and `mask_member` of each image, `<NA>` where it has no mask.

    Masks are `<id>.png`, `<id>_segmentation.png` or `<id>_mask.png`.
    """
    with open_archive(masks) as archive:
        names = archive.names()
    matches = _match_masks(table["id"], [name for name in names if name.lower().endswith(".png")])
    if not any(matches):
        images = table.loc[table["archive"] == str(masks), "member"]
        raise _no_masks(str(masks), list(table["id"]), names, sorted({*names}.difference(images)))
    check_one_file(table["id"], matches, str(masks))
    counts = Counter(name for names in matches for name in names)
    if shared := [name for name, count in counts.items() if count > 1]:
        problem = f"{masks}: {len(shared)} masks fit more than one image"
        raise listing_error(problem, shared, "arrange the masks in folders as the images are")
    members = pd.Series([files[0] if files else pd.NA for files in matches], dtype="string")
    log.info("%s: %d of %d images have a mask", masks, members.notna().sum(), len(table))
    archives = members.where(members.isna(), str(masks))
    return table.assign(mask_archive=archives, mask_member=members)


def _match_masks(ids: Sequence[str] | pd.Series, files: Sequence[str]) -> list[list[str]]:
    """Return the files that may be the mask of each id."""
    paths = _by_id(files)
    exact = [paths.get(key, []) for key in ids]
    # An id may be longer than the name of its mask: ISIC's carry their edition.
    stems = _by_id(sorted(set(files).difference(*exact)), whole=False)
    keys = [PurePosixPath(key).name for key in ids]
    return [whole or stems.get(key, []) for key, whole in zip(keys, exact, strict=True)]


def _by_id(files: Sequence[str], *, whole: bool = True) -> dict[str, list[str]]:
    """Group masks by each id that they may be of: their name with and without its ending.

    Args:
        whole: an id is the path without its suffix, not the file's name alone.
    """
    masks: dict[str, list[str]] = defaultdict(list)
    for file in files:
        path = PurePosixPath(file).with_suffix("")
        name = path.as_posix() if whole else path.name
        masks[name].append(file)
        for ending in MASK_ENDINGS:
            if name.lower().endswith(ending):
                masks[name[: -len(ending)]].append(file)
    return masks


def _no_masks(
    masks: str, keys: Sequence[str], names: Sequence[str], others: Sequence[str]
) -> MeddiffError:
    """Return the error for a folder without any mask: of another format, or of other names."""
    matches = _match_masks(keys, [name for name in others if is_image(name)])
    if count := sum(map(bool, matches)):
        return MeddiffError(
            f"{masks} has masks of {count} of {len(keys)} images by their names, and none is a "
            "PNG: masks must be PNG, a lossless format; convert them"
        )
    expected = " or ".join(
        f"{PurePosixPath(keys[0]).name}{ending}.png" for ending in ("", *MASK_ENDINGS)
    )
    contents = f"its {len(names)} files are {first_names(names, 2)}" if names else "it is empty"
    return MeddiffError(
        f"{masks} has no mask of any of {len(keys)} images, e.g. {expected} (endings in any case); "
        f"{contents}: rename the masks after their images' ids, or name the folder with the masks"
    )


def check_one_file(keys: Iterable[str], matches: Iterable[list[str]], folder: str) -> None:
    """Raise a MeddiffError if an id has more than one file."""
    repeated = [
        f"{key} ({', '.join(files)})"
        for key, files in zip(keys, matches, strict=True)
        if len(files) > 1
    ]
    if repeated:
        problem = f"{folder} has more than one file for {len(repeated)} ids"
        remedy = "keep one of each, or name the image in a column of its own"
        raise listing_error(problem, repeated, remedy)


def _check_present(
    keys: pd.Series, missing: Sequence[bool], where: str, folder: str, strict: bool
) -> None:
    """Raise a MeddiffError if rows of a table have no image; where that is allowed, log them."""
    lacking = keys[list(missing)]
    if lacking.empty:
        return
    rows = [f"{key} (row {line})" for line, key in lacking.items()]
    problem = f"{where} has {len(lacking)} rows without an image in {folder}"
    if strict or len(lacking) == len(keys):
        raise listing_error(problem, rows, "add the images or remove the rows")
    log.warning("%s, left out: %s", problem, first_names(rows))


def _log_ignored(count: int, where: str, folder: str) -> None:
    """Log how many images have no row."""
    if count:
        log.info("%d images of %s have no row in %s", count, folder, where)
