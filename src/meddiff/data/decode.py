"""Decode image files to uint8 arrays, whatever their mode, orientation or damage."""

import io
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from meddiff.errors import MeddiffError

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "JPEG2000")
"""Formats that are decoded; others, such as EPS, would start a foreign interpreter."""

SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")


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


def _decode(data: bytes, name: str, mode: Literal["RGB", "L"]) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _refuse_bomb(image)
            upright = ImageOps.exif_transpose(image)
            return np.array(_to_eight_bits(upright).convert(mode))
    # Pillow's readers raise a dozen kinds of exception for bytes that they cannot read.
    except Exception as error:
        raise MeddiffError(
            f"{name} is not a readable image ({_reason(data, error)}): replace the file, or remove "
            "it and its metadata row"
        ) from error


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
