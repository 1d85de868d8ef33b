"""Levels of images of more than 8 bits, and their conversion to 8 bits by a window."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from meddiff.core.errors import MeddiffError
from meddiff.data.readers.frames import Curve, Tones, tones_of

# OpenCV prints a line for files that raise an error here.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

Window = tuple[float, float]
"""The level that becomes black and the one that becomes white."""
Windows = Mapping[str, Window]
"""Window of each type of pixels in a set of images."""
NO_WINDOWS: Windows = {}

TYPES = dict.fromkeys(("I;16", "I;16L", "I;16B", "I;16N"), "uint16")
TYPES |= {"I": "int32", "F": "float32"}
"""Types of grey pixels by Pillow's modes."""
COLOUR = "uint16 RGB"
"""16-bit colour: Pillow decodes only its high bytes, so OpenCV is used."""
MAX_SAMPLED = 2**18
"""Largest number of pixels of an image whose levels are sampled, on a regular grid."""
ALL = "all"
"""Name of a window that a user sets: of every type, whatever a file says itself."""
PERCENTILES = "percentiles"
"""Name of two percentiles that a user sets: they give every file a window of its own."""
N_QUANTILES = 256
"""Quantiles of an image's levels by which its window is chosen."""
WHOLE_DEPTHS = tuple(2**bits for bits in range(8, 33))
"""Numbers of levels of 8 bits and more."""


class MissingWindowError(MeddiffError):
    """An image of more than 8 bits was decoded without the window of its set.

    Attributes:
        name: how errors name the file.
        type: of its pixels.
        levels: float64 (N_QUANTILES,), quantiles of its levels.
    """

    def __init__(self, name: str, type: str, levels: NDArray[np.float64]) -> None:
        super().__init__(
            f"{name} has {type} pixels and its set has no window for them: index it again"
        )
        self.name, self.type, self.levels = name, type, levels


def type_of(image: Image.Image) -> str | None:
    """Return the type of an image's pixels where they have more than 8 bits, from its header."""
    if image.mode in TYPES:
        return TYPES[image.mode]
    if image.format == "TIFF":
        tags: Any = getattr(image, "tag_v2", {})
        return COLOUR if max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))) > 8 else None
    tiles: Any = getattr(image, "tile", None)
    return COLOUR if image.format == "PNG" and tiles and ";16" in str(tiles[0][3]) else None


def levels_of(
    image: Image.Image, data: bytes, type: str, name: str
) -> tuple[NDArray, NDArray[np.float64] | None]:
    """Return the levels of an image of more than 8 bits and the opacity of its pixels.

    Returns:
        Levels (height, width), or (height, width, 3) of colour, of the file's own type, and
        opacity (height, width) in [0, 1], None if all pixels are opaque.
    """
    if type == COLOUR:
        return _colours(image, data, name)
    values = np.asarray(image)
    if not np.isfinite(values).all():
        raise MeddiffError(
            f"{name} has levels that are not finite (NaN or infinite): replace them by a number, "
            "e.g. with numpy.nan_to_num"
        )
    transparent = image.info.get("transparency")
    return values, None if transparent is None else (values != transparent).astype(np.float64)


def to_eight_bits(
    image: Image.Image, data: bytes, type: str, windows: Windows, name: str
) -> Image.Image:
    """Convert an image of more than 8 bits to 8 bits; see `levels_of`.

    By the window that the user sets (ALL, PERCENTILES), else as the file says, else by the window
    of its type in the set.

    Raises:
        MissingWindowError: it has none of these.
    """
    values, opacity = levels_of(image, data, type, name)
    tones = tones_of(image)
    whole = type != "float32"
    if ALL in windows:
        greys = _windowed(values, windows[ALL], whole=whole)
    elif PERCENTILES in windows:
        greys = _windowed(values, _own_window(values, opacity, windows, tones), whole=whole)
    elif tones.curve:
        greys = _curved(values, tones.curve)
    elif type in windows:
        greys = _windowed(values, windows[type], whole=whole)
    else:
        raise MissingWindowError(name, type, _quantiles(values, opacity))
    converted = Image.fromarray(255 - greys if tones.inverted else greys)
    if opacity is not None:
        converted.putalpha(Image.fromarray(np.round(255 * opacity).astype(np.uint8)))
    return converted


def _windowed(values: NDArray, window: Window, *, whole: bool) -> NDArray[np.uint8]:
    if values.dtype == np.uint16:
        return apply_window(np.arange(2**16), window, whole=whole)[values]
    return apply_window(values, window, whole=whole)


def _curved(values: NDArray, curve: Curve) -> NDArray[np.uint8]:
    low, high = values.min(), values.max()
    if values.dtype.kind == "f" or int(high) - int(low) >= 2**16:
        return np.rint(np.interp(values, *curve)).astype(np.uint8)
    # Few whole levels: a table of them is several times as fast.
    greys = np.rint(np.interp(np.arange(low, int(high) + 1), *curve)).astype(np.uint8)
    return greys[values - low]


def _own_window(
    values: NDArray, opacity: NDArray[np.float64] | None, windows: Windows, tones: Tones
) -> Window:
    """Return the levels at a user's percentiles, of a slice those of its volume."""
    chosen = windows[PERCENTILES]
    if tones.percentiles:
        low, high = np.interp(
            chosen, np.linspace(0, 100, len(tones.percentiles)), tones.percentiles
        )
    else:
        inside = values if opacity is None else values[opacity > 0]
        low, high = np.percentile(inside if inside.size else np.zeros(1), chosen)
    return float(low), float(high)


def _colours(
    image: Image.Image, data: bytes, name: str
) -> tuple[NDArray, NDArray[np.float64] | None]:
    high = np.asarray(image.convert("RGB"))
    # Like Pillow, OpenCV turns TIFF upright but not PNG.
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    colours = None if values is None or values.ndim < 3 else values[..., 2::-1]
    if values is None or colours is None or not np.array_equal(colours // 256, high):
        raise MeddiffError(
            f"{name} stores 16-bit colour in an unsupported way (separate planes, CMYK, "
            "premultiplied alpha, …): convert it to a PNG of 16-bit RGB"
        )
    opaque = values.shape[2] == 3 or not image.has_transparency_data
    return colours, None if opaque else values[..., 3] / 65535


def apply_window(values: NDArray, window: Window, *, whole: bool) -> NDArray[np.uint8]:
    """Return grey levels uint8: the window in 256 equal steps, clipped at its ends.

    Args:
        whole: levels are whole numbers, so that 0 to 4095 keep their upper 8 of 12 bits; in
            other windows, such as 0 to 1, the last step has one level more.
    """
    low, high = window
    is_whole_depth = whole and low == 0 and high + 1 in WHOLE_DEPTHS
    greys = (values.astype(np.float64) - low) * (256 / max(high - low + is_whole_depth, 1e-300))
    return np.clip(np.floor(greys), 0, 255).astype(np.uint8)


def _quantiles(values: NDArray, opacity: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Return quantiles of the opaque pixels' levels; single hot pixels are above the largest."""
    step = max(1, int(np.ceil(np.sqrt(values.shape[0] * values.shape[1] / MAX_SAMPLED))))
    grid = values[::step, ::step].astype(np.float64)
    if opacity is not None:
        grid = grid[opacity[::step, ::step] > 0]
    parts = (np.arange(N_QUANTILES) + 0.5) / N_QUANTILES
    return np.quantile(grid if grid.size else np.zeros(1), parts, method="inverted_cdf")
