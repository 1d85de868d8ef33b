"""Pack image sets: one uint8 array, and one table that describes its rows."""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from meddiff.core.errors import MeddiffError, listing_error
from meddiff.core.files import atomic_write
from meddiff.core.progress import OnProgress
from meddiff.data.index import check_unchanged
from meddiff.data.preprocessing.files import (
    Oddities,
    Preprocessing,
    preprocess_files,
    preprocess_masks,
)
from meddiff.data.readers.decode import find_missing_window
from meddiff.data.readers.depth import MissingWindowError, Window, Windows
from meddiff.data.readers.members import Group, map_groups, map_members, named_files
from meddiff.data.readers.windows import choose_windows, windows_of

log = logging.getLogger(__name__)


Rows = tuple[list[int], NDArray[np.uint8]]
"""Positions of rows and their squares, (rows, size, size, channels)."""


def pack_images(
    records: pd.DataFrame,
    preprocessing: Preprocessing,
    out_array: Path,
    out_table: Path,
    *,
    masks: bool = False,
    workers: int = 1,
    progress: OnProgress | None = None,
) -> None:
    """Preprocess images, or their masks, and write them as one array and one table, row by row.

    The array (.npy) is uint8 (n, size, size, 3), or (n, size, size, 1) for grey and masks, which
    are of 0 and 255 and always decoded exactly. The table (.csv) has `id`, `label`, `edition`,
    `group` if there is one, `source_sha256` (of the image or the mask), `decoding`, and `window` if
    images of the data set have more than 8 bits.
    """
    size, oddities = preprocessing.size, Oddities()
    prepare: Callable[[list[tuple[bytes, str]]], NDArray[np.uint8]]
    if masks:
        sources = _masks_of(records).assign(decoding="exact")
        prepare = partial(preprocess_masks, crop=preprocessing.crop, size=size)
    else:
        sources, windows = records.assign(decoding=preprocessing.decoding), windows_of(records)
        prepare = partial(preprocess_files, how=preprocessing, windows=windows, oddities=oddities)
    if sources.empty:
        raise MeddiffError(f"no images to pack into {out_array}: check the split and the counts")
    locations = list(zip(sources["archive"], sources["member"], strict=True))
    digests = list(sources["bytes_sha256"])

    def convert(group: Group) -> Rows:
        files, positions = named_files(group, locations), [position for position, _ in group]
        for position, (data, name) in zip(positions, files, strict=True):
            check_unchanged(data, digests[position], name)
        return positions, prepare(files)

    shape = (len(sources), size, size, 1 if masks or preprocessing.grey else 3)
    with atomic_write(out_array) as array, atomic_write(out_table) as table:
        # With several threads of ours, threads of BLAS would only compete.
        with threadpool_limits(1):
            _write_rows(array, shape, map_groups(convert, locations, workers), progress)
        _describe(sources).to_csv(table, index=False)
    labels = ", ".join(f"{n} {label}" for label, n in sources["label"].value_counts().items())
    log.info("packed %s (%s) into %s", "x".join(map(str, shape)), labels, out_array)
    oddities.log(len(sources), size)


def choose_windows_of_files(
    locations: Sequence[tuple[str, str]], fixed: Windows
) -> dict[str, Window]:
    """Choose the windows of the images of more than 8 bits among (archive, member)."""

    def read(position: int, data: bytes) -> MissingWindowError | None:
        return find_missing_window(data, "{1} in {0}".format(*locations[position]))

    images = map_members(read, locations)
    return choose_windows([image for image in images if image is not None], len(locations), fixed)


def _masks_of(records: pd.DataFrame) -> pd.DataFrame:
    """Return the records with the location and digest of each image's mask instead of its own."""
    members = records.get("mask_member", pd.Series(pd.NA, records.index))
    lacking = records["id"][members.isna()]
    if len(lacking):
        remedy = "add the masks and index again"
        raise listing_error(f"{len(lacking)} images have no mask", list(lacking), remedy)
    return records.drop(columns="window", errors="ignore").assign(
        archive=records["mask_archive"],
        member=records["mask_member"],
        bytes_sha256=records["mask_sha256"],
    )


def _write_rows(
    path: Path, shape: tuple[int, ...], groups: Iterator[Rows], progress: OnProgress | None
) -> None:
    """Write an .npy of `shape` from groups of rows and their positions, in any order.

    By plain writes, since a full disk kills a process that writes to a memory map.
    """
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        for positions, rows in groups:
            for run in _runs(positions):
                file.seek(start + positions[run.start] * rows[0].size)
                file.write(np.ascontiguousarray(rows[run]).data)
            if progress:
                progress(len(positions))


def _runs(positions: list[int]) -> list[slice]:
    """Return slices of consecutive positions."""
    starts = [0, *(np.flatnonzero(np.diff(positions) != 1) + 1).tolist(), len(positions)]
    return [slice(first, last) for first, last in pairwise(starts)]


def _describe(sources: pd.DataFrame) -> pd.DataFrame:
    columns = ("id", "label", "edition", "group", "source_sha256", "decoding", "window")
    table = sources.rename(columns={"bytes_sha256": "source_sha256"})
    return table[[name for name in columns if name in table]]
