"""Prepare images and pack them: one uint8 array and one table of what its rows are."""

import hashlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from meddiff.data.archive import map_members
from meddiff.data.decode import decode_grey, decode_rgb
from meddiff.data.index import Progress, write_table
from meddiff.data.sources import several
from meddiff.errors import MeddiffError
from meddiff.files import atomic_write

log = logging.getLogger(__name__)


def preprocess(image: NDArray[np.uint8], *, crop: int | None, size: int) -> NDArray[np.uint8]:
    """Crop the centre and resize bilinearly with anti-aliasing, as torchvision does.

    Args:
        image: uint8, (height, width) or (height, width, 3).
        crop: side of the centred square in px, or None for the largest.
        size: side of the result in px.

    Returns:
        uint8, (size, size) or (size, size, 3).

    Raises:
        MeddiffError: the image is smaller than the crop.
    """
    return _resize(_crop_centre(image, crop), size, Image.Resampling.BILINEAR)


def preprocess_mask(mask: NDArray[np.uint8], *, crop: int | None, size: int) -> NDArray[np.uint8]:
    """Crop and resize a mask as `preprocess` does its image; 255 where at least half is lesion.

    Args:
        mask: (height, width); lesion is what exceeds half of the largest value (0/1, 0/255).
        crop: side of the centred square in px, or None for the largest.
        size: side of the result in px.

    Returns:
        uint8 of 0 and 255, (size, size).

    Raises:
        MeddiffError: the mask is smaller than the crop.
    """
    binary = np.where(mask > mask.max() / 2, np.uint8(255), np.uint8(0))
    area = _resize(_crop_centre(binary, crop), size, Image.Resampling.BOX)
    return np.where(area >= 128, np.uint8(255), np.uint8(0))


def pack(
    records: pd.DataFrame,
    *,
    crop: int | None,
    size: int,
    grey: bool = False,
    out_array: Path,
    out_table: Path,
    masks: bool = False,
    workers: int = 1,
    progress: Progress | None = None,
) -> None:
    """Prepare the images, or their masks, and write them as one .npy and one CSV, row by row.

    The array is uint8 (n, size, size, 3), or 1 channel for grey and for masks (0 or 255); the table
    has `id`, `label`, `edition`, `group` if known, and `source_sha256`.

    Args:
        records: rows of an index, in the order of the result.
        crop: side of the centre crop in px, or None for the largest square.
        size: side of the packed images in px.
        grey: pack one grey channel.
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
    prepare = _preparer(crop, size, grey, masks)

    places = list(zip(sources["archive"], sources["member"], strict=True))
    digests = list(sources["bytes_sha256"])

    def convert(position: int, data: bytes) -> tuple[int, NDArray[np.uint8]]:
        archive, member = places[position]
        name = f"{member} in {archive}"
        if hashlib.sha256(data).hexdigest() != digests[position]:
            raise MeddiffError(f"{name} changed since it was indexed: delete the index, run again")
        return position, prepare(data, name)

    shape = (len(sources), size, size, 1 if grey or masks else 3)
    with atomic_write(out_array) as array, atomic_write(out_table) as table:
        _write_rows(array, shape, map_members(convert, places, workers), progress)
        write_table(_describe(sources), table)
    labels = ", ".join(f"{n} {label}" for label, n in sources["label"].value_counts().items())
    log.info("packed %s (%s) into %s", "x".join(map(str, shape)), labels, out_array)


def _masks_of(records: pd.DataFrame) -> pd.DataFrame:
    """Return the records with each image's mask in its place."""
    found = records.get("mask_member", pd.Series(pd.NA, records.index))
    lacking = records["id"][found.isna()]
    if len(lacking):
        remedy = "add the masks and index again"
        raise several(f"{len(lacking)} images have no mask", list(lacking), remedy)
    return records.assign(
        archive=records["mask_archive"],
        member=records["mask_member"],
        bytes_sha256=records["mask_sha256"],
    )


def _preparer(
    crop: int | None, size: int, grey: bool, masks: bool
) -> Callable[[bytes, str], NDArray[np.uint8]]:
    """Return the function from a file's bytes and name to its packed pixels."""
    decode = decode_grey if grey or masks else decode_rgb
    reduce = preprocess_mask if masks else preprocess

    def prepare(data: bytes, name: str) -> NDArray[np.uint8]:
        image = decode(data, name)
        try:
            return reduce(image, crop=crop, size=size)
        except MeddiffError as error:
            raise MeddiffError(f"{name}: {error}") from error

    return prepare


def _write_rows(
    path: Path,
    shape: tuple[int, ...],
    rows: Iterator[tuple[int, NDArray[np.uint8]]],
    progress: Progress | None,
) -> None:
    """Write an .npy of `shape` row by row, in any order.

    Plain writes, not a memory map: on a full disk a map kills the process.
    """
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        for position, pixels in rows:
            file.seek(start + position * pixels.size)
            file.write(pixels.tobytes())
            if progress:
                progress(1)


def _describe(sources: pd.DataFrame) -> pd.DataFrame:
    columns = [name for name in ("id", "label", "edition", "group") if name in sources]
    return sources[columns].assign(source_sha256=sources["bytes_sha256"])


def _crop_centre(image: NDArray[np.uint8], crop: int | None) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    side = crop or min(height, width)
    if side > min(height, width):
        raise MeddiffError(
            f"the image is {width}x{height} px, smaller than the crop of {side}: lower the crop or "
            "remove the image and its metadata row"
        )
    # Rounds half to even, as torchvision does.
    top, left = round((height - side) / 2), round((width - side) / 2)
    return image[top : top + side, left : left + side]


def _resize(image: NDArray[np.uint8], size: int, resampling: Image.Resampling) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image).resize((size, size), resampling))
