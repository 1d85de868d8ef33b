"""Decode image files to uint8 arrays, whatever their mode, orientation or damage."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps
from simplejpeg import decode_jpeg

from meddiff.errors import MeddiffError

R = TypeVar("R")
Mode = Literal["RGB", "L"]

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "JPEG2000")
"""Formats that are decoded; others, such as EPS, would start a foreign interpreter."""

SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
SHALLOW = 2**12
"""A 16-bit image whose levels all lie below holds 12 bits or fewer, as radiographs often do."""
SHRINKS = (8, 4)
"""By how much a JPEG may be decoded smaller; halving one saves no time."""


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


def decode_mask(data: bytes, name: str) -> NDArray[np.uint8]:
    """Decode to 255 where a value exceeds half of the largest, else 0; uint8 (height, width).

    So 0/1, 0/255 and 16-bit masks are read alike.

    Raises:
        MeddiffError: as `decode_rgb`.
    """

    def read(image: Image.Image) -> NDArray[np.uint8]:
        upright = ImageOps.exif_transpose(image)
        deep = upright.mode in (*SIXTEEN_BIT, "I", "F")
        values = np.asarray(upright if deep else upright.convert("L"))
        return np.where(values > values.max(initial=0) / 2, np.uint8(255), np.uint8(0))

    return _readable(data, name, read)


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
    if image.format != "JPEG" or image.mode not in ("L", "RGB"):
        pixels = _pixels(ImageOps.exif_transpose(image), mode)
        return Stored(pixels, pixels.shape[0], pixels.shape[1], shrink=1, orientation=1)
    width, height = image.size
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    factor = shrink(height, width) if shrink else 1
    return Stored(
        _jpeg_pixels(image, data, mode, factor),
        height,
        width,
        shrink=factor,
        orientation=int(orientation) if orientation in range(1, 9) else 1,
    )


def _jpeg_pixels(image: Image.Image, data: bytes, mode: Mode, factor: int) -> NDArray[np.uint8]:
    # The luma that a colour JPEG stores is not quite the grey of its RGB.
    if factor > 1 or mode == "RGB" or image.mode == mode:
        pixels = _quick_pixels(data, mode, -(-image.height // factor), -(-image.width // factor))
        if pixels is not None:
            return pixels
    if factor > 1:
        image.draft(mode, (image.width // factor, image.height // factor))
    return _pixels(image, mode)


def _quick_pixels(data: bytes, mode: Mode, height: int, width: int) -> NDArray[np.uint8] | None:
    """Decode a JPEG, or return None if anything is unusual: Pillow then decides what it is."""
    colours = "RGB" if mode == "RGB" else "GRAY"
    try:
        pixels = decode_jpeg(data, colours, min_height=height, min_width=width)
    except ValueError:
        return None
    if pixels.shape[:2] != (height, width):
        return None
    return pixels if mode == "RGB" else pixels[..., 0]


def _pixels(image: Image.Image, mode: Mode) -> NDArray[np.uint8]:
    image = _to_eight_bits(image)
    return np.array(image if image.mode == mode else image.convert(mode))


def _refuse_bomb(image: Image.Image) -> None:
    """Make Pillow's limit an error; it only warns up to twice the limit."""
    if image.width * image.height > (Image.MAX_IMAGE_PIXELS or np.inf):
        raise Image.DecompressionBombError(f"{image.width}x{image.height} pixels")


def _to_eight_bits(image: Image.Image) -> Image.Image:
    if image.mode in SIXTEEN_BIT:
        values = np.asarray(image)
        if 0 < values.max(initial=0) < SHALLOW:
            raise ValueError(
                f"its 16-bit grey levels end at {values.max()} of 65535: rescale them, or it would "
                "be black"
            )
        return Image.fromarray((values >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("32-bit pixels without a known range")
    return image


def _reason(data: bytes, error: Exception) -> str:
    if not data:
        return "the file is empty"
    if isinstance(error, Image.UnidentifiedImageError):
        return f"its content is none of {', '.join(FORMATS)}"
    return str(error) or type(error).__name__
