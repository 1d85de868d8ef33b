"""Pack images: one uint8 array and one table of what its rows are."""

import hashlib
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
from meddiff.data.index import Progress
from meddiff.data.preprocessing.transforms import (
    Decoding,
    Oddities,
    preprocess_files,
    preprocess_masks,
)
from meddiff.data.readers.archive import Group, map_groups, map_members
from meddiff.data.readers.decode import find_deep
from meddiff.data.readers.depth import DeepError, Window, Windows, judge, windows_of

log = logging.getLogger(__name__)


def pack(
    records: pd.DataFrame,
    *,
    crop: int | None,
    size: int,
    grey: bool = False,
    decoding: Decoding = "exact",
    out_array: Path,
    out_table: Path,
    masks: bool = False,
    workers: int = 1,
    progress: Progress | None = None,
) -> None:
    """Prepare the images, or their masks, and write them as one .npy and one CSV, row by row.

    The array is uint8 (n, size, size, 3), or 1 channel for grey and for masks (0 or 255); the table
    has `id`, `label`, `edition`, `group` if known, `source_sha256`, `decoding`, and `window` where
    images of the data set have more than 8 bits.

    Args:
        records: rows of an index, in the order of the result.
        crop: side of the centre crop in px, or None for the largest square.
        size: side of the packed images in px.
        grey: pack one grey channel.
        decoding: `exact` or `fast`, see `preprocess_files`; masks are always `exact`.
        out_array: where the array goes (.npy).
        out_table: where the table goes (.csv).
        masks: pack the masks instead of the images.
        workers: threads; they never change the result.
        progress: called with the number of images just done.

    Raises:
        MeddiffError: no records, a file that changed since it was indexed, an image smaller than
            the crop, one without a mask, or a full disk.
    """
    if records.empty:
        raise MeddiffError(f"no images to pack into {out_array}: check the split and the counts")
    sources = (_masks_of(records) if masks else records).reset_index(drop=True)
    oddities = Oddities()
    prepare: Callable[[list[tuple[bytes, str]]], NDArray[np.uint8]]
    if masks:
        decoding = "exact"
        prepare = partial(preprocess_masks, crop=crop, size=size)
    else:
        prepare = partial(
            preprocess_files, crop=crop, size=size, grey=grey, decoding=decoding,
            windows=windows_of(sources), oddities=oddities,
        )  # fmt: skip

    places = list(zip(sources["archive"], sources["member"], strict=True))
    names = [f"{member} in {archive}" for archive, member in places]
    digests = list(sources["bytes_sha256"])

    def convert(group: Group) -> tuple[list[int], NDArray[np.uint8]]:
        for position, data in group:
            if hashlib.sha256(data).hexdigest() != digests[position]:
                raise MeddiffError(
                    f"{names[position]} changed since it was indexed: delete the index.csv of its "
                    "data set and run again"
                )
        positions = [position for position, _ in group]
        return positions, prepare([(data, names[position]) for position, data in group])

    shape = (len(sources), size, size, 1 if grey or masks else 3)
    with atomic_write(out_array) as array, atomic_write(out_table) as table:
        # The threads that compute are ours: more from BLAS would only get in their way.
        with threadpool_limits(1):
            _write_rows(array, shape, map_groups(convert, places, workers), progress)
        _describe(sources, decoding).to_csv(table, index=False)
    oddities.log(len(sources), size)
    labels = ", ".join(f"{n} {label}" for label, n in sources["label"].value_counts().items())
    log.info("packed %s (%s) into %s", "x".join(map(str, shape)), labels, out_array)


def judge_files(folder: Path, names: Sequence[str], given: Windows) -> dict[str, Window]:
    """Return the windows of a folder's or archive's images of more than 8 bits; see `judge`.

    Args:
        folder: what holds the images.
        names: of all images of the set.
        given: windows of a set to compare with, by type of pixels.

    Raises:
        MeddiffError: an image cannot be read, or a window does not show the images.
    """

    def look(place: int, data: bytes) -> DeepError | None:
        return find_deep(data, f"{names[place]} in {folder}")

    found = map_members(look, [(str(folder), name) for name in names])
    return judge([image for image in found if image is not None], len(names), given)


def _masks_of(records: pd.DataFrame) -> pd.DataFrame:
    """Return the records with each image's mask in its place."""
    found = records.get("mask_member", pd.Series(pd.NA, records.index))
    lacking = records["id"][found.isna()]
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
    progress: Progress | None,
) -> None:
    """Write an .npy of `shape` from groups of rows at their positions, in any order.

    Plain writes, not a memory map: on a full disk a map kills the process.
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
    """Return where positions follow one another."""
    starts = [0, *(np.flatnonzero(np.diff(positions) != 1) + 1).tolist(), len(positions)]
    return [slice(first, last) for first, last in pairwise(starts)]


def _describe(sources: pd.DataFrame, decoding: Decoding) -> pd.DataFrame:
    columns = [name for name in ("id", "label", "edition", "group") if name in sources]
    table = sources[columns].assign(source_sha256=sources["bytes_sha256"], decoding=decoding)
    return table.assign(window=sources["window"]) if "window" in sources else table
