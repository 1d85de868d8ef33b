"""Decode image files to uint8 arrays, whatever their mode, orientation or damage."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from meddiff.errors import MeddiffError

R = TypeVar("R")
Mode = Literal["RGB", "L"]

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "JPEG2000")
"""Formats that are decoded; others, such as EPS, would start a foreign interpreter."""

SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
SHRINKS = (8, 4)
"""By how much a JPEG may be decoded smaller; halving one saves no time."""
LARGE_PIXELS = 2**18
"""JPEGs from this size on are decoded by torchvision: below, Pillow is as quick."""


@dataclass(frozen=True)
class Stored:
    """An image as its file stores it, not turned upright.

    Attributes:
        pixels: uint8 in [0, 255], (height / shrink, width / shrink), rounded up, and (…, 3) unless
            grey.
        height: px in the file.
        width: px in the file.
        shrink: 1, or the factor of SHRINKS by which the image was decoded smaller.
        orientation: EXIF orientation, 1 to 8.
    """

    pixels: NDArray[np.uint8]
    height: int
    width: int
    shrink: int
    orientation: int


def decode_rgb(data: bytes, name: str) -> NDArray[np.uint8]:
    """Decode to uint8 RGB (height, width, 3) in [0, 255], upright by its EXIF orientation.

    Grey, palette, CMYK and 1-bit images are converted. Alpha is dropped, not composited: pixels
    keep the colour that the file stores. 16-bit grey keeps its high byte.

    Args:
        data: the file's bytes.
        name: how errors name the file.

    Raises:
        MeddiffError: the bytes are no whole image, or one too large to be meant.
    """
    return _decode(data, name, "RGB")


def decode_grey(data: bytes, name: str) -> NDArray[np.uint8]:
    """Decode to uint8 grey (height, width) in [0, 255] by ITU-R 601 luma; else as `decode_rgb`."""
    return _decode(data, name, "L")


def decode_stored(
    data: bytes, name: str, *, grey: bool = False, shrink: Callable[[int, int], int] | None = None
) -> Stored:
    """Decode quickly to the pixels that the file stores, in the colours of `decode_rgb`.

    Args:
        data: the file's bytes.
        name: how errors name the file.
        grey: decode to grey instead of RGB.
        shrink: from height and width to the factor, 1 or one of SHRINKS, by which a JPEG may be
            decoded smaller; without it every image is decoded in full.

    Raises:
        MeddiffError: as `decode_rgb`.
    """
    return _readable(data, name, lambda image: _stored(image, data, "L" if grey else "RGB", shrink))


def _decode(data: bytes, name: str, mode: Mode) -> NDArray[np.uint8]:
    return _readable(data, name, lambda image: _pixels(ImageOps.exif_transpose(image), mode))


def _readable(data: bytes, name: str, read: Callable[[Image.Image], R]) -> R:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _refuse_bomb(image)
            return read(image)
    # Pillow's readers raise a dozen kinds of exception for bytes that they cannot read.
    except Exception as error:
        raise MeddiffError(
            f"{name} is not a readable image ({_reason(data, error)}): replace the file, or remove "
            "it and its metadata row"
        ) from error


def _stored(
    image: Image.Image, data: bytes, mode: Mode, shrink: Callable[[int, int], int] | None
) -> Stored:
    width, height = image.size
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    plain = image.format == "JPEG" and image.mode in ("L", "RGB")
    factor = shrink(height, width) if shrink and plain else 1
    if factor > 1:
        image.draft(mode, (width // factor, height // factor))
    quick = plain and factor == 1 and image.mode == mode == "RGB" and width * height >= LARGE_PIXELS
    pixels = _torchvision_pixels(data) if quick else None
    return Stored(
        pixels=_pixels(image, mode) if pixels is None else pixels,
        height=height,
        width=width,
        shrink=factor,
        orientation=orientation if orientation in range(1, 9) else 1,
    )


def _torchvision_pixels(data: bytes) -> NDArray[np.uint8] | None:
    """Decode an RGB JPEG, or return None: Pillow then tells what is wrong with it."""
    # Here, since torch takes seconds to load and small images do without.
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg

    try:
        encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        pixels: NDArray[np.uint8] = decode_jpeg(encoded, mode=ImageReadMode.RGB).numpy()
    except RuntimeError:
        return None
    return pixels.transpose(1, 2, 0)


def _pixels(image: Image.Image, mode: Mode) -> NDArray[np.uint8]:
    image = _to_eight_bits(image)
    return np.array(image if image.mode == mode else image.convert(mode))


def _refuse_bomb(image: Image.Image) -> None:
    """Make Pillow's limit an error; it only warns up to twice the limit."""
    if image.width * image.height > (Image.MAX_IMAGE_PIXELS or np.inf):
        raise Image.DecompressionBombError(f"{image.width}x{image.height} pixels")


def _to_eight_bits(image: Image.Image) -> Image.Image:
    if image.mode in SIXTEEN_BIT:
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("32-bit pixels without a known range")
    return image


def _reason(data: bytes, error: Exception) -> str:
    if not data:
        return "the file is empty"
    if isinstance(error, Image.UnidentifiedImageError):
        return f"its content is none of {', '.join(FORMATS)}"
    return str(error) or type(error).__name__
