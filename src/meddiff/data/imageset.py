"""Prepare images and pack them: one uint8 array and one table of what its rows are."""

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dct
from threadpoolctl import threadpool_limits

from meddiff.data.archive import map_members
from meddiff.data.decode import SHRINKS, Stored, decode_grey, decode_stored
from meddiff.data.index import Progress, write_table
from meddiff.data.sources import several
from meddiff.errors import MeddiffError
from meddiff.files import atomic_write

log = logging.getLogger(__name__)

Decoding = Literal["exact", "fast"]
"""How images are decoded: in full, or JPEGs at a reduced scale where `SPARE` allows."""

SPARE = 1.7
"""A JPEG is decoded smaller while this many of its pixels remain for each packed pixel's side."""

LARGE = 128
"""Squares from this side on, in px, are resized by torch: below, loading it costs more time."""

TURNS = {
    1: (False, False, False),
    2: (False, True, False),
    3: (True, True, False),
    4: (True, False, False),
    5: (False, False, True),
    6: (True, False, True),
    7: (True, True, True),
    8: (False, True, True),
}
"""By EXIF orientation: flip rows, flip columns, then swap them, to turn an image upright."""

Window = tuple[int, int, int]
"""Top, left and side of a square in px."""


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
    height, width = image.shape[:2]
    return _bilinear(_cut(image, _centre(height, width, crop)), size)


def preprocess_file(
    data: bytes,
    name: str,
    *,
    crop: int | None,
    size: int,
    grey: bool = False,
    decoding: Decoding = "exact",
) -> NDArray[np.uint8]:
    """Decode an image file, turn it by its EXIF orientation, and crop and resize it.

    `exact` is within 1 grey level of torchvision on every pixel. `fast` decodes large JPEGs at a
    quarter or an eighth of their scale: over photographs, the mean difference is up to 0.5 grey
    levels and its 99.9th percentile up to 8.

    Args:
        data: the file's bytes.
        name: how errors name the file.
        crop: side of the centred square in px of the file, or None for the largest.
        size: side of the result in px.
        grey: one grey channel by ITU-R 601 luma.
        decoding: `exact` or `fast`.

    Returns:
        uint8, (size, size, 3), or (size, size) for grey.

    Raises:
        MeddiffError: the bytes are no whole image, one smaller than the crop, or there is no such
            way of decoding.
    """
    if decoding not in get_args(Decoding):
        raise MeddiffError(f"decoding is {decoding!r}: set it to one of {get_args(Decoding)}")
    shrink = partial(_shrink, crop=crop, size=size) if decoding == "fast" else None
    image = decode_stored(data, name, grey=grey, shrink=shrink)
    with _naming(name):
        window = _stored_window(image, crop)
    if image.shrink > 1:
        return _upright(_resample(image, window, size), image.orientation)
    return _upright(_bilinear(_cut(image.pixels, window), size), image.orientation)


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
    square = _cut(binary, _centre(mask.shape[0], mask.shape[1], crop))
    area = _pillow_resize(square, size, Image.Resampling.BOX)
    return np.where(area >= 128, np.uint8(255), np.uint8(0))


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
    has `id`, `label`, `edition`, `group` if known, `source_sha256` and `decoding`.

    Args:
        records: rows of an index, in the order of the result.
        crop: side of the centre crop in px, or None for the largest square.
        size: side of the packed images in px.
        grey: pack one grey channel.
        decoding: `exact` or `fast`, see `preprocess_file`; masks are always `exact`.
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
    prepare: Callable[[bytes, str], NDArray[np.uint8]]
    if masks:
        decoding = "exact"
        prepare = partial(_preprocess_mask_file, crop=crop, size=size)
    else:
        prepare = partial(preprocess_file, crop=crop, size=size, grey=grey, decoding=decoding)

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
        # The threads that compute are ours: more from BLAS would only get in their way.
        with threadpool_limits(1):
            _write_rows(array, shape, map_members(convert, places, workers), progress)
        write_table(_describe(sources, decoding), table)
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


def _preprocess_mask_file(
    data: bytes, name: str, *, crop: int | None, size: int
) -> NDArray[np.uint8]:
    mask = decode_grey(data, name)
    with _naming(name):
        return preprocess_mask(mask, crop=crop, size=size)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        yield
    except MeddiffError as error:
        raise MeddiffError(f"{name}: {error}") from error


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
            file.write(np.ascontiguousarray(pixels).data)
            if progress:
                progress(1)


def _describe(sources: pd.DataFrame, decoding: Decoding) -> pd.DataFrame:
    columns = [name for name in ("id", "label", "edition", "group") if name in sources]
    return sources[columns].assign(source_sha256=sources["bytes_sha256"], decoding=decoding)


def _centre(height: int, width: int, crop: int | None) -> Window:
    side = crop or min(height, width)
    if side > min(height, width):
        raise MeddiffError(
            f"the image is {width}x{height} px, smaller than the crop of {side}: lower the crop or "
            "remove the image and its metadata row"
        )
    # Rounds half to even, as torchvision does.
    return round((height - side) / 2), round((width - side) / 2), side


def _stored_window(image: Stored, crop: int | None) -> Window:
    """Return where the centre of the upright image lies in the stored one."""
    flip_rows, flip_columns, swap = TURNS[image.orientation]
    if swap:
        left, top, side = _centre(image.width, image.height, crop)
    else:
        top, left, side = _centre(image.height, image.width, crop)
    top = image.height - side - top if flip_rows else top
    left = image.width - side - left if flip_columns else left
    return top, left, side


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    flip_rows, flip_columns, swap = TURNS[orientation]
    turned = pixels[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
    return turned.swapaxes(0, 1) if swap else turned


def _cut(image: NDArray[np.uint8], window: Window) -> NDArray[np.uint8]:
    top, left, side = window
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def _bilinear(square: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    if len(square) == size:
        return square
    if square.ndim == 3 and len(square) >= LARGE:
        return _torch_resize(square, size)
    return _pillow_resize(square, size, Image.Resampling.BILINEAR)


def _torch_resize(square: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize as Pillow does, to one grey level, several times as fast."""
    # Here, since torch takes seconds to load.
    import torch
    from torch.nn.functional import interpolate

    writable = np.require(square, requirements=["C", "W"])
    batch = torch.from_numpy(writable).permute(2, 0, 1)[None]
    small = interpolate(batch, size=(size, size), mode="bilinear", antialias=True)
    pixels: NDArray[np.uint8] = small[0].permute(1, 2, 0).numpy()
    return pixels


def _pillow_resize(
    square: NDArray[np.uint8], size: int, resampling: Image.Resampling
) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(square).resize((size, size), resampling))


def _shrink(height: int, width: int, crop: int | None, size: int) -> int:
    """Return by how much a JPEG may be decoded smaller."""
    side = crop or min(height, width)
    return next((factor for factor in SHRINKS if side >= SPARE * size * factor), 1)


def _resample(image: Stored, window: Window, size: int) -> NDArray[np.uint8]:
    """Resize the window of an image that was decoded smaller, as if it were whole.

    Weights are multiples of 2^-12 and grey levels of 1/4: float32 adds their products up exactly,
    in any order and on any machine.
    """
    top, left, side = window
    rows = _weights(image.height, top, side, size, image.shrink)
    columns = _weights(image.width, left, side, size, image.shrink)
    stored = np.atleast_3d(image.pixels[rows.span, columns.span])
    samples = stored.swapaxes(1, 2).astype(np.float32, order="C")
    tall = _weigh(rows, samples.reshape(len(samples), -1))
    np.rint(4 * tall, out=tall)
    both = _weigh(columns, tall.reshape(-1, samples.shape[2]).T)
    pixels = np.clip(np.rint(both / 4), 0, 255).astype(np.uint8)
    small = pixels.reshape(size, size, -1).swapaxes(0, 1)
    return small if image.pixels.ndim == 3 else small[..., 0]


class Weights(NamedTuple):
    """A matrix without most of its zeros."""

    span: slice
    """Columns that are not all zero."""
    bands: list[tuple[slice, NDArray[np.float32]]]
    """Groups of rows: which columns of the span are not all zero, and those."""


def _weigh(weights: Weights, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([part @ samples[used] for used, part in weights.bands])


@lru_cache(maxsize=512)
def _weights(full: int, start: int, side: int, size: int, shrink: int) -> Weights:
    """Return the matrix from one axis of a JPEG decoded smaller to that of the packed image.

    Decoding to n pixels a block keeps n of its 8 cosines. Undoing that as far as it goes (the
    pseudo-inverse) and then filtering as for a whole image is one matrix, (size, ceil(full /
    shrink)), rounded to multiples of 2^-12.

    Args:
        full: px of the axis in the file.
        start: where the window starts, px.
        side: of the window, px.
        size: of the packed image, px.
        shrink: 4 or 8.
    """
    kept, blocks = 8 // shrink, -(-full // 8)
    whole = np.zeros((size, 8 * blocks))
    whole[:, start : start + side] = _triangles(side, size)
    weights = (whole.reshape(size, blocks, 8) @ _enlargement(kept)).reshape(size, -1)
    last = -(-full // shrink) - 1
    weights[:, last] += weights[:, last + 1 :].sum(1)
    return _bands(_rounded(weights[:, : last + 1]))


def _triangles(side: int, size: int) -> NDArray[np.float64]:
    """Return the bilinear filter with anti-aliasing, (size, side); rows add up to 1."""
    scale = side / size
    centres = scale * (np.arange(size) + 0.5)
    distance = np.abs(np.arange(side) + 0.5 - centres[:, None]) / scale
    weights = np.clip(1 - distance, 0, None)
    return weights / weights.sum(1, keepdims=True)


def _enlargement(kept: int) -> NDArray[np.float64]:
    """Return the matrix (8, kept) from a block decoded to `kept` pixels to its 8 pixels."""
    whole = dct(np.eye(8), axis=0, norm="ortho")
    small = dct(np.eye(kept), axis=0, norm="ortho")
    return whole[:kept].T @ small * np.sqrt(8 / kept)


def _rounded(weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round to multiples of 2^-12; rows add up to 1, so that flat areas keep their grey."""
    units = np.rint(weights * 2**12)
    rows = np.arange(len(units))
    units[rows, units.argmax(1)] += 2**12 - units.sum(1)
    return (units / 2**12).astype(np.float32)


def _bands(matrix: NDArray[np.float32]) -> Weights:
    span = _used(matrix)
    matrix = matrix[:, span]
    groups = np.array_split(matrix, -(-len(matrix) // 32))
    return Weights(span, [(used, group[:, used]) for group in groups if (used := _used(group))])


def _used(matrix: NDArray[np.float32]) -> slice:
    columns = np.flatnonzero(matrix.any(0))
    return slice(int(columns[0]), int(columns[-1]) + 1)
