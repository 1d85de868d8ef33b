"""Preprocess images as the study's torchvision does: turn upright, crop the centre, resize."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meddiff.core.errors import MeddiffError
from meddiff.data.preprocessing.jpeg_scaling import Window, resize_reduced, shrink_for
from meddiff.data.readers.decode import Stored, decode_mask, decode_stored
from meddiff.data.readers.depth import NO_WINDOWS, Windows

log = logging.getLogger(__name__)

Decoding = Literal["exact", "fast"]
"""How images are decoded: in full, or JPEGs at a reduced scale where pixels are to spare."""

LARGE = 128
"""Squares from this side on, in px, are resized by torch: below, loading it costs more time."""

TOGETHER = 2**20
"""Squares of one side are resized together up to this number of bytes."""

SHOWN = 5

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

Square = tuple[NDArray[np.uint8], int]
"""Pixels as a file stores them, (side, side, channels), and the file's EXIF orientation."""


@dataclass(frozen=True)
class Oddities:
    """Images of a set with which something is done that nobody may expect, by name.

    Attributes:
        enlarged: their square was smaller than the size asked for.
        paged: their file has several pages or frames, of which the first was taken.
    """

    enlarged: list[str] = field(default_factory=list)
    paged: list[str] = field(default_factory=list)

    def log(self, total: int, size: int) -> None:
        """Log each kind once, with counts.

        Args:
            total: images of the set.
            size: side that was asked for, px.
        """
        kinds = {
            f"were smaller than {size} px and are enlarged": self.enlarged,
            "have several pages or frames: the first is taken": self.paged,
        }
        for what, names in kinds.items():
            if names:
                some = ", ".join(sorted(names)[:SHOWN]) + (", …" if len(names) > SHOWN else "")
                log.warning("%d of %d images %s (%s)", len(names), total, what, some)


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
    window = _centre(image.shape[0], image.shape[1], crop)
    return _bilinear([_cut(np.atleast_3d(image), window)], size).reshape(
        size, size, *image.shape[2:]
    )


def preprocess_files(
    files: Iterable[tuple[bytes, str]],
    *,
    crop: int | None,
    size: int,
    grey: bool = False,
    decoding: Decoding = "exact",
    windows: Windows = NO_WINDOWS,
    oddities: Oddities | None = None,
) -> NDArray[np.uint8]:
    """Decode image files, turn each by its EXIF orientation, and crop and resize it.

    `exact` is within 2 grey levels of torchvision, and within 1 but for a few values in a million
    (see `_torch_resize`). `fast` decodes large JPEGs at a quarter or an eighth of their scale: over
    photographs, the mean difference is up to 0.5 grey levels and its 99.9th percentile up to 8.
    What comes of a file does not depend on the others.

    Args:
        files: each file's bytes, and how errors name it.
        crop: side of the centred square in px of the file, or None for the largest.
        size: side of the results in px.
        grey: one grey channel by ITU-R 601 luma.
        decoding: `exact` or `fast`.
        windows: of the files' set, for images of more than 8 bits.
        oddities: takes the names of what is enlarged or has several pages.

    Returns:
        uint8, (files, size, size, 3), or (files, size, size, 1) for grey.

    Raises:
        DeepError: an image has more than 8 bits and no window.
        MeddiffError: the bytes are no whole image, one smaller than the crop, or there is no such
            way of decoding.
    """
    if decoding not in get_args(Decoding):
        raise MeddiffError(f"decoding is {decoding!r}: set it to one of {get_args(Decoding)}")
    seen = Oddities() if oddities is None else oddities

    def square(data: bytes, name: str) -> Square:
        return _square(data, name, crop, size, grey, decoding, windows, seen)

    squares = (square(data, name) for data, name in files)
    done = [
        _upright(small, orientation)
        for pixels, orientations in _together(squares)
        for small, orientation in zip(_bilinear(pixels, size), orientations, strict=True)
    ]
    return np.stack(done) if done else np.empty((0, size, size, 1 if grey else 3), np.uint8)


def preprocess_masks(
    files: Iterable[tuple[bytes, str]], *, crop: int | None, size: int
) -> NDArray[np.uint8]:
    """Decode, crop and resize masks as `preprocess_files` does their images.

    Returns:
        uint8 of 0 and 255, (files, size, size, 1).

    Raises:
        MeddiffError: the bytes are no whole image, or one smaller than the crop.
    """
    done = []
    for data, name in files:
        mask = decode_mask(data, name)
        with _naming(name):
            done.append(preprocess_mask(mask, crop=crop, size=size))
    return np.stack(done)[..., None]


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
    square = _cut(binary[..., None], _centre(mask.shape[0], mask.shape[1], crop))
    area = _pillow_resize(square, size, Image.Resampling.BOX)[..., 0]
    return np.where(area >= 128, np.uint8(255), np.uint8(0))


@contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        yield
    except MeddiffError as error:
        raise MeddiffError(f"{name}: {error}") from error


def _square(
    data: bytes,
    name: str,
    crop: int | None,
    size: int,
    grey: bool,
    decoding: Decoding,
    windows: Windows,
    oddities: Oddities,
) -> Square:
    """Decode and cut one image; one that was decoded smaller has its final size already."""

    def shrink(height: int, width: int) -> int:
        return shrink_for(crop or min(height, width), size)

    image = decode_stored(
        data, name, grey=grey, shrink=shrink if decoding == "fast" else None, windows=windows
    )
    with _naming(name):
        window = _stored_window(image, crop)
    if window[2] < size:
        oddities.enlarged.append(name)
    if image.pages > 1:
        oddities.paged.append(name)
    if image.shrink > 1:
        return resize_reduced(image, window, size), image.orientation
    return _cut(np.atleast_3d(image.pixels), window), image.orientation


def _together(
    squares: Iterable[Square],
) -> Iterator[tuple[list[NDArray[np.uint8]], list[int]]]:
    """Put neighbours of one side together, TOGETHER bytes at a time."""
    pixels: list[NDArray[np.uint8]] = []
    orientations: list[int] = []
    for square, orientation in squares:
        most = max(1, TOGETHER // square.nbytes)
        if pixels and (square.shape != pixels[0].shape or len(pixels) >= most):
            yield pixels, orientations
            pixels, orientations = [], []
        pixels.append(square)
        orientations.append(orientation)
    if pixels:
        yield pixels, orientations


def _centre(height: int, width: int, crop: int | None) -> Window:
    side = crop or min(height, width)
    if side > min(height, width):
        raise MeddiffError(
            f"the image is {width}x{height} px, smaller than the crop of {side}: lower the crop or "
            "leave the image and its row of the table out"
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
    """Copy a square out of (height, width, channels)."""
    top, left, side = window
    channels = image.shape[2]
    # As rows of bytes: NumPy would copy a view of pixels three bytes at a time.
    rows = image.reshape(len(image), -1)
    cut = rows[top : top + side, channels * left : channels * (left + side)]
    return np.ascontiguousarray(cut).reshape(side, side, channels)


def _bilinear(squares: list[NDArray[np.uint8]], size: int) -> NDArray[np.uint8]:
    """Resize (side, side, channels) each; return (n, size, size, channels)."""
    side, _, channels = squares[0].shape
    if channels == 3 and side >= LARGE and side != size:
        return _torch_resize(squares[0][None] if len(squares) == 1 else np.stack(squares), size)
    if side != size:
        squares = [_pillow_resize(square, size, Image.Resampling.BILINEAR) for square in squares]
    return np.stack(squares)


def _torch_resize(squares: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize as Pillow does, several times as fast, to two grey levels.

    Both round to whole levels after the rows and again after the columns, from weights of unlike
    precision: each is up to 1 level from the unrounded result, and rarely both are, in opposite
    directions.
    """
    # Here, since torch takes seconds to load.
    import torch
    from torch.nn.functional import interpolate

    writable = np.require(squares, requirements=["C", "W"])
    batch = torch.from_numpy(writable).permute(0, 3, 1, 2)
    small = interpolate(batch, size=(size, size), mode="bilinear", antialias=True)
    pixels: NDArray[np.uint8] = small.permute(0, 2, 3, 1).numpy()
    return pixels


def _pillow_resize(
    square: NDArray[np.uint8], size: int, resampling: Image.Resampling
) -> NDArray[np.uint8]:
    channels = square.shape[2]
    picture = Image.fromarray(square if channels == 3 else square[..., 0])
    return np.asarray(picture.resize((size, size), resampling)).reshape(size, size, channels)
