"""Images of more than 8 bits: one window, from levels to grey, for all of a set.

A window for each image would make dark and bright images alike. So a set's levels are judged
together, and what one window cannot show is refused.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from meddiff.core.errors import MeddiffError

log = logging.getLogger(__name__)
# It prints what is refused here in one line.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

Window = tuple[float, float]
"""The level that becomes black and the one that becomes white."""
Windows = Mapping[str, Window]
"""A set's window of each type of pixels."""
NO_WINDOWS: Windows = {}

TYPES = dict.fromkeys(("I;16", "I;16L", "I;16B", "I;16N"), "uint16")
TYPES |= {"I": "int32", "F": "float32"}
"""Types of grey pixels by Pillow's modes."""
COLOUR = "uint16 RGB"
"""Pillow decodes its high bytes only, so OpenCV does it."""
DEPTHS = tuple(2**bits for bits in range(8, 33))
"""Numbers of levels of 8 bits and more."""
FINEST = 2**18
"""Pixels of an image that are looked at, of a regular grid."""
SAMPLES = 256
"""Levels that stand for an image: its quantiles."""
EDGE = 0.02
"""Share of the set's levels at each end that may stray, besides the outermost level: those that
are farther from the others than these span."""
REPEATED = 2
"""Levels that make up half of what strays where it is markers, hot pixels or padding…"""
FEWEST = 32
"""…in a set of more levels than these."""
FILLED = 0.25
"""Share of a depth's range that levels must span to be shown in the whole of it."""
DETAILED = 64
"""Levels of an image that has detail…"""
FLAT = 32
"""…which is lost where it is shown in fewer greys."""
STRANGERS = 0.1
"""Share of a set's images that may lose their detail."""
SHOWN = 3


class DeepError(MeddiffError):
    """A deep image was decoded without the window of its set.

    Attributes:
        name: how errors name the file.
        type: of its pixels.
        levels: float64 (SAMPLES,), quantiles of its levels.
    """

    def __init__(self, name: str, type: str, levels: NDArray[np.float64]) -> None:
        super().__init__(f"{name} has {type} pixels, whose levels nobody judged: index it again")
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
    """Return a deep image's levels and how opaque its pixels are.

    Args:
        image: opened, not turned upright.
        data: the file's bytes.
        type: of its pixels.
        name: how errors name the file.

    Returns:
        Levels (height, width), or (height, width, 3) of colour, of the file's own type, and
        opacity (height, width) in [0, 1], None where all is opaque.

    Raises:
        MeddiffError: levels are not finite, or colours are stored in a way that is not read.
    """
    if type == COLOUR:
        return _colours(image, data, name)
    values = np.asarray(image)
    if not np.isfinite(values).all():
        raise MeddiffError(
            f"{name} has levels that are no numbers (NaN or infinite): set them to a level"
        )
    clear = image.info.get("transparency")
    return values, None if clear is None else (values != clear).astype(np.float64)


def to_eight_bits(
    image: Image.Image, data: bytes, type: str, windows: Windows, name: str
) -> Image.Image:
    """Return a deep image as one of 8 bits, in the window of its set; else as `levels_of`.

    Raises:
        DeepError: its type has no window.
    """
    values, opacity = levels_of(image, data, type, name)
    if type not in windows:
        raise DeepError(name, type, _quantiles(values, opacity))
    if values.dtype == np.uint16:
        greys = apply_window(np.arange(2**16), windows[type], whole=True)[values]
    else:
        greys = apply_window(values, windows[type], whole=type != "float32")
    seen = Image.fromarray(greys)
    if opacity is not None:
        seen.putalpha(Image.fromarray(np.round(255 * opacity).astype(np.uint8)))
    return seen


def _colours(
    image: Image.Image, data: bytes, name: str
) -> tuple[NDArray, NDArray[np.float64] | None]:
    high = np.asarray(image.convert("RGB"))
    # Like Pillow, OpenCV turns TIFF upright, and PNG not.
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    colours = None if values is None or values.ndim < 3 else values[..., 2::-1]
    if values is None or colours is None or not np.array_equal(colours // 256, high):
        raise MeddiffError(
            f"{name} stores 16-bit colour in a way that is not read (separate planes, CMYK, "
            "premultiplied alpha, …): convert it to a PNG of 16-bit RGB"
        )
    opaque = values.shape[2] == 3 or not image.has_transparency_data
    return colours, None if opaque else values[..., 3] / 65535


def apply_window(values: NDArray, window: Window, *, whole: bool) -> NDArray[np.uint8]:
    """Return grey levels uint8: the window in 256 equal steps, clipped at its ends.

    Args:
        values: levels of any type.
        window: black and white.
        whole: levels are whole numbers, so that 0 to 4095 keep their upper 8 of 12 bits; in
            windows of no whole depth, such as 0 to 1, the last step holds one level more.
    """
    low, high = window
    deep = whole and low == 0 and high + 1 in DEPTHS
    greys = (values.astype(np.float64) - low) * (256 / max(high - low + deep, 1e-300))
    return np.clip(np.floor(greys), 0, 255).astype(np.uint8)


def judge(deep: Sequence[DeepError], total: int, given: Windows = NO_WINDOWS) -> dict[str, Window]:
    """Return the window of each type of pixels in a set, and log it.

    Args:
        deep: the set's deep images.
        total: images of the set, the others of 8 bits.
        given: windows that are not chosen here, such as those of a set to compare with.

    Raises:
        MeddiffError: a window does not show the images of its type.
    """
    windows = {}
    for type in sorted({image.type for image in deep}):
        images = sorted((image for image in deep if image.type == type), key=lambda i: i.name)
        windows[type] = _judge_type(images, total, given.get(type))
    return windows


def choose_window(levels: NDArray[np.float64], *, whole: bool) -> Window:
    """Return the window of a set.

    It is the smallest whole depth (0 to 255, 511, … of whole levels; 0 to 1, 255, … of others) that
    holds the levels, so that a set keeps its window when images are added. Levels that span less
    than FILLED of that, or reach below 0, make a window of their own.

    Args:
        levels: (images, SAMPLES).
        whole: levels are whole numbers.
    """
    low, high = _reach(np.sort(levels, axis=None))
    tops = [depth - 1 for depth in DEPTHS]
    top = next((top for top in (tops if whole else [1, *tops]) if top >= high), high)
    if low >= 0 and (high - low >= FILLED * top or high == low):
        return 0.0, float(top)
    return (low, high) if high > low else (low - 1, low + 1)


def window_texts(types: pd.Series, windows: Windows) -> pd.Series:
    """Return each image's window as a table holds it, e.g. `uint16: 0 4095`; `<NA>` for 8 bits."""
    texts = {type: f"{type}: {low:.17g} {high:.17g}" for type, (low, high) in windows.items()}
    return types.map(texts).astype("string")


def windows_of(table: pd.DataFrame) -> dict[str, Window]:
    """Return the windows that a table of images holds."""
    if "window" not in table:
        return {}
    windows = {}
    for text in table["window"].dropna().unique():
        type, ends = text.split(": ")
        low, high = map(float, ends.split())
        windows[type] = (low, high)
    return windows


def _judge_type(images: Sequence[DeepError], total: int, given: Window | None) -> Window:
    type = images[0].type
    levels = np.stack([image.levels for image in images])
    whole = type != "float32"
    window = given or choose_window(levels, whole=whole)
    outside = (levels < window[0]) | (levels > window[1])
    lost, beyond = _unseen(levels, window, whole)
    strange = lost | beyond
    for place in np.flatnonzero(strange):
        own = levels[[place]]
        strange[place] = not np.any(_unseen(own, choose_window(own, whole=whole), whole))
    if strange.mean() > STRANGERS:
        widest = images[int(np.where(outside, -np.inf, levels).max(axis=1).argmax())].name
        raise MeddiffError(
            f"{len(images)} of {total} images have {type} pixels, of which levels {window[0]:.6g} "
            f"to {window[1]:.6g} {'' if given else f'(as in {widest}) '}would become black to "
            f"white; {np.count_nonzero(strange)} of them have another range and would lose their "
            f"detail ({_some(images, strange)}): rescale all images to one"
        )
    log.warning(
        "%d of %d images have %s pixels: for all of them, levels %.6g to %.6g become black to "
        "white; about %.2g %% of their pixels lie outside (%s)",
        *(len(images), total, type, *window, 100 * outside.mean(), _some(images)),
    )
    for what, odd in {"lose their detail there": lost, "lie mostly outside": beyond}.items():
        if odd.any():
            log.warning("%d of them %s: %s", np.count_nonzero(odd), what, _some(images, odd))
    return window


def _unseen(
    levels: NDArray[np.float64], window: Window, whole: bool
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which images lose their detail in a window, and which lie mostly outside it."""
    greys = apply_window(levels, window, whole=whole)
    lost = (_distinct(levels) >= DETAILED) & (_distinct(greys) < FLAT)
    return lost, ((levels < window[0]) | (levels > window[1])).mean(axis=1) > 0.5


def _quantiles(values: NDArray, opacity: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Return quantiles of the levels that are seen; the largest leaves out single hot pixels."""
    step = max(1, int(np.ceil(np.sqrt(values.shape[0] * values.shape[1] / FINEST))))
    grid = values[::step, ::step].astype(np.float64)
    if opacity is not None:
        grid = grid[opacity[::step, ::step] > 0]
    parts = (np.arange(SAMPLES) + 0.5) / SAMPLES
    return np.quantile(grid if grid.size else np.zeros(1), parts, method="inverted_cdf")


def _reach(pooled: NDArray[np.float64]) -> Window:
    """Return the ends of sorted levels, without far ones that are mostly one level or two.

    Markers, hot pixels and padding repeat a level; a small bright part has many.
    """
    inner = pooled[(pooled > pooled[0]) & (pooled < pooled[-1])]
    if len(np.unique(pooled)) > FEWEST:
        spare = int(EDGE * len(inner))
        low, high = inner[spare], inner[-1 - spare]
        above, below = pooled > 2 * high - low, pooled < 2 * low - high
        strays = [far for far in (above, below) if low < high and _repeat(pooled[far])]
        pooled = pooled[~np.any(strays, axis=0)] if strays else pooled
    return float(pooled[0]), float(pooled[-1])


def _repeat(strays: NDArray[np.float64]) -> bool:
    counts = np.sort(np.unique(strays, return_counts=True)[1])
    return 2 * int(counts[-REPEATED:].sum()) >= len(strays)


def _distinct(levels: NDArray) -> NDArray[np.intp]:
    """Return how many levels each image has."""
    return 1 + np.count_nonzero(np.diff(np.sort(levels, axis=1), axis=1), axis=1)


def _some(images: Sequence[DeepError], which: NDArray[np.bool_] | None = None) -> str:
    names = [image.name for place, image in enumerate(images) if which is None or which[place]]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
