"""Find each image, and its mask, among the files of an archive or folder."""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from meddiff.core.errors import MeddiffError
from meddiff.data.readers.archive import open_archive
from meddiff.data.sources.tables import SHOWN, several

log = logging.getLogger(__name__)

JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")
IMAGE_SUFFIXES = (
    *JPEG_SUFFIXES,
    *(".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".jp2", ".j2k"),
)
MASK_ENDINGS = ("_segmentation", "_mask")
"""What a mask's name may have after the id, in any case; nothing is as good."""


def is_image(name: str) -> bool:
    """Return whether a file's name ends as an image's."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def is_jpeg(path: PurePosixPath) -> bool:
    """Return whether a file's name ends as a JPEG's."""
    return path.suffix.lower() in JPEG_SUFFIXES


def image_names(names: Sequence[str], folder: str | Path) -> list[str]:
    """Return the names that end as an image's; how many others there are is logged by suffix."""
    images = [name for name in names if is_image(name)]
    others = Counter(PurePosixPath(name).suffix.lower() for name in names if not is_image(name))
    if others:
        log.warning(
            "%s: left out %d of %d files, which are no images by their names: %s",
            folder,
            others.total(),
            len(names),
            ", ".join(
                f"{n} {suffix or 'without a suffix'}" for suffix, n in others.most_common(SHOWN)
            )
            + (", …" if len(others) > SHOWN else ""),
        )
    return images


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
    """Add where each image's mask is, `<NA>` where there is none.

    Raises:
        MeddiffError: no image has a mask, one has several, or several have the same.
    """
    with open_archive(masks) as archive:
        names = archive.names()
    files = [name for name in names if name.lower().endswith(".png")]
    found = _found(table["id"], files)
    if not any(found):
        images = table.loc[table["archive"] == str(masks), "member"]
        others = sorted(set(names).difference(images))
        raise _no_masks(masks, list(table["id"]), names, others)
    refuse_several(table["id"], found, str(masks))
    claims = Counter(name for names in found for name in names)
    if shared := [name for name, count in claims.items() if count > 1]:
        remedy = "lay masks out in folders as the images are"
        raise several(f"{masks}: {len(shared)} masks fit more than one image", shared, remedy)
    members = pd.Series([files[0] if files else pd.NA for files in found], dtype="string")
    log.info("%s: %d of %d images have a mask", masks, members.notna().sum(), len(table))
    archives = members.where(members.isna(), str(masks))
    return table.assign(mask_archive=archives, mask_member=members)


def _found(ids: Sequence[str] | pd.Series, files: Sequence[str]) -> list[list[str]]:
    """Return the files that each id may have as its mask."""
    paths = _by_id(files)
    exact = [paths.get(key, []) for key in ids]
    # An id may be longer than the name of its mask: ISIC's carry their edition.
    stems = _by_id(sorted(set(files).difference(*exact)), whole=False)
    keys = [PurePosixPath(key).name for key in ids]
    return [whole or stems.get(key, []) for key, whole in zip(keys, exact, strict=True)]


def _by_id(files: Sequence[str], *, whole: bool = True) -> dict[str, list[str]]:
    """Sort masks by each id that they may be of: their name with and without its ending.

    Args:
        files: their names.
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
    masks: str | Path, keys: Sequence[str], names: Sequence[str], others: Sequence[str]
) -> MeddiffError:
    if named := sum(map(bool, _found(keys, [name for name in others if is_image(name)]))):
        return MeddiffError(
            f"{masks} holds masks of {named} of {len(keys)} images by their names, and none is a "
            "PNG: masks must be PNG, in which levels are exact; convert them"
        )
    expected = ", ".join(
        f"{PurePosixPath(keys[0]).name}{ending}.png" for ending in ("", *MASK_ENDINGS)
    )
    there = ", ".join(names[:2]) + (", …" if len(names) > 2 else "")
    return MeddiffError(
        f"{masks} holds no mask of any of {len(keys)} images: a mask is called {expected} (endings "
        f"in any case), and there {f'are {len(names)} files: {there}' if names else 'is no file'}; "
        "rename the masks after their images' ids, or name the folder that holds them"
    )


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
