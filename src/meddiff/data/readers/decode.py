"""Decode image files to uint8 arrays, whatever their mode, depth, orientation or damage."""

import io
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps
from simplejpeg import decode_jpeg

from meddiff.core.errors import MeddiffError, detached
from meddiff.data.readers.depth import (
    NO_WINDOWS,
    MissingWindowError,
    Windows,
    levels_of,
    to_eight_bits,
    type_of,
)
from meddiff.data.readers.dicom import is_dicom
from meddiff.data.readers.frames import LARGEST

# Images of this size raise an error here.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)

R = TypeVar("R")
Mode = Literal["RGB", "L"]

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "JPEG2000")
"""Formats that are decoded; others, such as EPS, would start an external interpreter."""

PAGED = ("GIF", "TIFF")
"""Formats that report their number of pages only if opened as one of these."""
LUMA = np.array([0.299, 0.587, 0.114])
"""ITU-R 601 weights of red, green and blue, as Pillow has them."""
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
        pages: pages or frames of the file, of which this is the first.
    """

    pixels: NDArray[np.uint8]
    height: int
    width: int
    shrink: int
    orientation: int
    pages: int = 1


def decode_rgb(data: bytes, name: str, windows: Windows = NO_WINDOWS) -> NDArray[np.uint8]:
    """Decode to uint8 RGB (height, width, 3) in [0, 255], upright by its EXIF orientation.

    Grey, palette, CMYK and 1-bit images are converted; transparent pixels are composited on
    white. Of several pages or frames the first is decoded.

    Args:
        windows: window of each type of pixels in the set, for images of more than 8 bits.

    Raises:
        MissingWindowError: the image has more than 8 bits and no window.
        MeddiffError: the bytes are not a whole image, or one of more than LARGEST pixels.
    """
    return _decode(data, name, "RGB", windows)


def decode_grey(data: bytes, name: str, windows: Windows = NO_WINDOWS) -> NDArray[np.uint8]:
    """Decode to uint8 grey (height, width) in [0, 255] by ITU-R 601 luma, as `decode_rgb`."""
    return _decode(data, name, "L", windows)


def find_missing_window(data: bytes, name: str) -> MissingWindowError | None:
    """Return the type and levels of an image of more than 8 bits, or None for 8 bits."""

    def read(image: Image.Image) -> MissingWindowError | None:
        if (deep := type_of(image)) is not None:
            try:
                to_eight_bits(image, data, deep, NO_WINDOWS, name)
            except MissingWindowError as error:
                return detached(error)
        return None

    return _readable(data, name, read)


def decode_mask(data: bytes, name: str) -> NDArray[np.uint8]:
    """Decode to 255 where a value exceeds half of the largest, else 0; uint8 (height, width).

    So 0/1, 0/255 and 16-bit masks are read alike. Transparent pixels are background.
    """

    def read(image: Image.Image) -> NDArray[np.uint8]:
        if deep := type_of(image):
            values, opacity = levels_of(image, data, deep, name)
            values = values @ LUMA if values.ndim == 3 else values
            values = values if opacity is None else values * opacity
        else:
            values = np.asarray(_composite(image, "black").convert("L"))
        mask = np.where(values > values.max(initial=0) / 2, np.uint8(255), np.uint8(0))
        return np.asarray(_upright(image, Image.fromarray(mask)))

    return _readable(data, name, read)


def decode_stored(
    data: bytes,
    name: str,
    *,
    grey: bool = False,
    shrink: Callable[[int, int], int] | None = None,
    windows: Windows = NO_WINDOWS,
) -> Stored:
    """Decode to the pixels as stored, not turned upright, in the colours of `decode_rgb`.

    Args:
        shrink: from height and width to the factor, 1 or one of SHRINKS, by which a JPEG may be
            decoded smaller; without it every image is decoded in full.
    """
    mode: Mode = "L" if grey else "RGB"

    def read(image: Image.Image) -> Stored:
        if image.format == "JPEG" and image.mode in ("L", "RGB"):
            return _stored_jpeg(image, data, mode, shrink)
        pages = _pages(image, data)
        pixels = _upright_pixels(image, data, mode, windows, name)
        height, width = pixels.shape[:2]
        return Stored(pixels, height, width, shrink=1, orientation=1, pages=pages)

    return _readable(data, name, read)


def _decode(data: bytes, name: str, mode: Mode, windows: Windows) -> NDArray[np.uint8]:
    return _readable(data, name, lambda image: _upright_pixels(image, data, mode, windows, name))


def _readable(data: bytes, name: str, read: Callable[[Image.Image], R]) -> R:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image.width, image.height)
            return read(image)
    except MeddiffError:
        raise
    # Pillow's decoders raise a dozen kinds of exception for damaged bytes.
    except Exception as error:
        raise MeddiffError(
            f"{name} is not a readable image ({_reason(data, error)}): replace the file, or remove "
            "it and its row of the table"
        ) from error


def _stored_jpeg(
    image: Image.Image, data: bytes, mode: Mode, shrink: Callable[[int, int], int] | None
) -> Stored:
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
    """Decode a JPEG, or return None if anything is unusual: Pillow then decodes it or raises."""
    colours = "RGB" if mode == "RGB" else "GRAY"
    try:
        pixels = decode_jpeg(data, colours, min_height=height, min_width=width)
    except ValueError:
        return None
    if pixels.shape[:2] != (height, width):
        return None
    return pixels if mode == "RGB" else pixels[..., 0]


def _upright_pixels(
    image: Image.Image, data: bytes, mode: Mode, windows: Windows, name: str
) -> NDArray[np.uint8]:
    # Before the pixels are read, which drops the header.
    if deep := type_of(image):
        return _pixels(_upright(image, to_eight_bits(image, data, deep, windows, name)), mode)
    return _pixels(ImageOps.exif_transpose(image), mode)


def _upright(image: Image.Image, stored: Image.Image) -> Image.Image:
    """Turn stored pixels by the EXIF orientation of their image."""
    tag = ExifTags.Base.Orientation
    stored.getexif()[tag] = image.getexif().get(tag, 1)
    return ImageOps.exif_transpose(stored)


def _pixels(image: Image.Image, mode: Mode) -> NDArray[np.uint8]:
    image = _composite(image, "white")
    return np.array(image if image.mode == mode else image.convert(mode))


def _composite(image: Image.Image, background: str) -> Image.Image:
    """Composite an image with transparency on a uniform background."""
    if not image.has_transparency_data:
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, background), image.convert("RGBA"))


def _pages(image: Image.Image, data: bytes) -> int:
    """Count the pages or frames of a file; views and thumbnails of a photograph do not count."""
    if image.format not in PAGED:
        return int(getattr(image, "n_frames", 1)) if image.format != "MPO" else 1
    # With a decoder of its own: the first page is usable even if a later one is damaged.
    with suppress(Exception), Image.open(io.BytesIO(data), formats=PAGED) as reopened:
        return int(getattr(reopened, "n_frames", 1))
    return 1


def _check_size(width: int, height: int) -> None:
    if width * height > LARGEST:
        raise ValueError(f"{width}x{height} pixels exceed the limit of {LARGEST / 1e6:.1f} million")


def _reason(data: bytes, error: Exception) -> str:
    if not data:
        return "the file is empty"
    if is_dicom(data):
        return "it is a DICOM file: name it .dcm"
    if isinstance(error, Image.UnidentifiedImageError):
        return f"its format is none of {', '.join(FORMATS)}"
    if isinstance(error, Image.DecompressionBombError):
        return f"it exceeds the limit of {LARGEST / 1e6:.1f} million pixels"
    return str(error) or type(error).__name__
