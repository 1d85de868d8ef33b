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
from meddiff.data.readers.members import Group, map_groups, map_members
from meddiff.data.readers.windows import choose_windows, windows_of

log = logging.getLogger(__name__)


Prepare = Callable[[list[tuple[bytes, str]]], NDArray[np.uint8]]
"""From files, as bytes and names, to squares (files, size, size, channels)."""


def pack_images(
    records: pd.DataFrame,
    preprocessing: Preprocessing,
    out_array: Path,
    out_table: Path,
    *,
    workers: int = 1,
    progress: OnProgress | None = None,
) -> None:
    """Preprocess images and write them as one array and one table, row by row.

    The array (.npy) is uint8 (n, size, size, 3), or (n, size, size, 1) for grey. The table (.csv)
    has `id`, `label`, `edition`, `group` if there is one, `source_sha256`, `decoding`, and `window`
    if images of the data set have more than 8 bits.
    """
    sources = records.assign(decoding=preprocessing.decoding)
    oddities = Oddities()
    prepare = partial(
        preprocess_files, how=preprocessing, windows=windows_of(records), oddities=oddities
    )
    shape = (preprocessing.size, preprocessing.size, 1 if preprocessing.grey else 3)
    _pack(sources, prepare, shape, out_array, out_table, workers, progress)
    oddities.log(len(sources), preprocessing.size)


def pack_masks(
    records: pd.DataFrame,
    preprocessing: Preprocessing,
    out_array: Path,
    out_table: Path,
    *,
    workers: int = 1,
    progress: OnProgress | None = None,
) -> None:
    """Pack the masks of images as `pack_images` does the images, always decoded exactly.

    The array is uint8 of 0 and 255, (n, size, size, 1); `source_sha256` is the mask's.
    """
    sources = _masks_of(records).assign(decoding="exact")
    prepare = partial(preprocess_masks, crop=preprocessing.crop, size=preprocessing.size)
    shape = (preprocessing.size, preprocessing.size, 1)
    _pack(sources, prepare, shape, out_array, out_table, workers, progress)


def _pack(
    sources: pd.DataFrame,
    prepare: Prepare,
    shape: tuple[int, int, int],
    out_array: Path,
    out_table: Path,
    workers: int,
    progress: OnProgress | None,
) -> None:
    if sources.empty:
        raise MeddiffError(f"no images to pack into {out_array}: check the split and the counts")
    locations = list(zip(sources["archive"], sources["member"], strict=True))
    names = [f"{member} in {archive}" for archive, member in locations]
    digests = list(sources["bytes_sha256"])

    def convert(group: Group) -> tuple[list[int], NDArray[np.uint8]]:
        for position, data in group:
            check_unchanged(data, digests[position], names[position])
        positions = [position for position, _ in group]
        return positions, prepare([(data, names[position]) for position, data in group])

    with atomic_write(out_array) as array, atomic_write(out_table) as table:
        # With several threads of ours, threads of BLAS would only compete.
        with threadpool_limits(1):
            groups = map_groups(convert, locations, workers)
            _write_rows(array, (len(sources), *shape), groups, progress)
        _describe(sources).to_csv(table, index=False)
    labels = ", ".join(f"{n} {label}" for label, n in sources["label"].value_counts().items())
    size = "x".join(map(str, (len(sources), *shape)))
    log.info("packed %s (%s) into %s", size, labels, out_array)


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
    path: Path,
    shape: tuple[int, ...],
    groups: Iterator[tuple[list[int], NDArray[np.uint8]]],
    progress: OnProgress | None,
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
