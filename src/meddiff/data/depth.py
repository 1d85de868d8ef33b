"""Images of more than 8 bits: one window, from levels to grey, for all of a set.

A window for each image would make dark and bright images alike. So a set's levels are judged
together, and what one window cannot show is refused.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from meddiff.errors import MeddiffError

log = logging.getLogger(__name__)

Window = tuple[float, float]
"""The level that becomes black and the one that becomes white."""
Windows = Mapping[str, Window]
"""A set's window of each type of pixels."""
NO_WINDOWS: Windows = {}

TYPES = dict.fromkeys(("I;16", "I;16L", "I;16B", "I;16N"), "uint16")
TYPES |= {"I": "int32", "F": "float32"}
"""Types of grey pixels by Pillow's modes."""
COLOUR = "uint16 RGB"
"""Its high bytes are all that Pillow decodes: it has no window but the whole range."""
BITS = range(8, 33)
"""Depths that whole levels may have."""
FINEST = 2**18
"""Pixels of an image that are looked at, of a regular grid."""
SAMPLES = 256
"""Levels that stand for an image: its quantiles."""
EDGE = 0.02
"""Share of the set's levels at each end that may be markers, hot pixels or padding."""
STRAY = 0.0005
"""Levels beyond an edge belong to it while this share of all lies within twice its distance."""
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
    tiles: Any = getattr(image, "tile", None)
    if image.format not in ("PNG", "TIFF") or not tiles:
        return None
    coding = tiles[0][3]
    return COLOUR if ";16" in (coding if isinstance(coding, str) else str(coding[:1])) else None


def to_eight_bits(image: Image.Image, type: str, windows: Windows, name: str) -> Image.Image:
    """Return a deep image as one of 8 bits, in the window of its set.

    Raises:
        DeepError: its type has no window.
        MeddiffError: levels are not finite.
    """
    values = np.asarray(image.convert("L")) if type == COLOUR else np.asarray(image)
    if not np.isfinite(values).all():
        raise MeddiffError(
            f"{name} has levels that are no numbers (NaN or infinite): set them to a level"
        )
    if type not in windows:
        raise DeepError(name, type, _quantiles(257.0 * values if type == COLOUR else values))
    if type == COLOUR:
        return image
    if type == "uint16":
        return Image.fromarray(apply_window(np.arange(2**16), windows[type], whole=True)[values])
    return Image.fromarray(apply_window(values, windows[type], whole=type != "float32"))


def apply_window(values: NDArray, window: Window, *, whole: bool) -> NDArray[np.uint8]:
    """Return grey levels uint8: the window in 256 equal steps, clipped at its ends.

    Args:
        values: levels of any type.
        window: black and white.
        whole: levels are whole numbers, so that 0 to 4095 keep their upper 8 of 12 bits.
    """
    low, high = window
    greys = (values.astype(np.float64) - low) * (256 / max(high - low + whole, 1e-300))
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
    than FILLED of that, or reach below 0, make a window of their own. Where images would lose their
    detail, an outermost level that is farther from the others than they span is left out, however
    frequent: a large marker or padding.

    Args:
        levels: (images, SAMPLES).
        whole: levels are whole numbers.
    """
    pooled = np.sort(levels, axis=None)
    window = _window_of(pooled, whole)
    inner = _without_outermost(pooled)
    if len(inner) < len(pooled) and _lose_detail(levels, window, whole).mean() > STRANGERS:
        return _window_of(inner, whole)
    return window


def _window_of(pooled: NDArray[np.float64], whole: bool) -> Window:
    low, high = _reach(pooled)
    tops = [2.0**bits - 1 for bits in BITS] if whole else [1, *(2.0**b - 1 for b in BITS)]
    top = next((top for top in tops if top >= high), high)
    if low >= 0 and (high - low >= FILLED * top or high == low):
        return 0.0, float(top)
    return (low, high) if high > low else (low - 1, low + 1)


def _without_outermost(pooled: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leave a level at either end out that is farther from the others than these span."""
    distinct = np.unique(pooled)
    if len(distinct) > FLAT and distinct[-1] - distinct[-2] > distinct[-2] - distinct[1]:
        pooled = pooled[pooled < distinct[-1]]
    if len(distinct) > FLAT and distinct[1] - distinct[0] > distinct[-2] - distinct[1]:
        pooled = pooled[pooled > distinct[0]]
    return pooled


def _lose_detail(levels: NDArray[np.float64], window: Window, whole: bool) -> NDArray[np.bool_]:
    greys = apply_window(levels, window, whole=whole)
    return (_distinct(levels) >= DETAILED) & (_distinct(greys) < FLAT)


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
    if type == COLOUR:
        if choose_window(levels, whole=True)[1] < 2**13:
            raise MeddiffError(
                f"{len(images)} of {total} images are colour of 16 bits whose levels end at "
                f"{levels.max():.0f}, and would be black ({_some(images)}): convert them to 8 bits"
            )
        window = (0.0, 65535.0)
    outside = (levels < window[0]) | (levels > window[1])
    lost = _lose_detail(levels, window, whole)
    beyond = outside.mean(axis=1) > 0.5
    if type != COLOUR and (lost | beyond).mean() > STRANGERS:
        raise MeddiffError(
            f"{len(images)} of {total} images have {type} pixels, of which levels {window[0]:.6g} "
            f"to {window[1]:.6g} would become black to white; {np.count_nonzero(lost | beyond)} of "
            f"them would lose their detail ({_some(images, lost | beyond)}): they have another "
            "range; rescale all images to one"
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


def _quantiles(values: NDArray) -> NDArray[np.float64]:
    """Return quantiles of an image's levels; the largest leaves out single hot pixels."""
    step = max(1, int(np.ceil(np.sqrt(values.size / FINEST))))
    grid = values[::step, ::step].astype(np.float64)
    return np.quantile(grid, (np.arange(SAMPLES) + 0.5) / SAMPLES, method="inverted_cdf")


def _reach(pooled: NDArray[np.float64]) -> Window:
    """Return the ends of sorted levels without what lies far from all others."""
    count = len(pooled)
    first, last = int(EDGE * count), count - 1 - int(EDGE * count)
    if pooled[first] == pooled[last]:
        first, last = 0, count - 1
    while first and (more := _further(-pooled[::-1], count - 1 - first, count - 1 - last)):
        first -= more
    while last < count - 1 and (more := _further(pooled, last, first)):
        last += more
    return float(pooled[first]), float(pooled[last])


def _further(pooled: NDArray[np.float64], last: int, first: int) -> int:
    """Return how many levels above the last one belong to it."""
    limit = 2 * pooled[last] - pooled[first]
    more = int(np.searchsorted(pooled, limit, side="right")) - 1 - last
    return more if more > STRAY * len(pooled) else 0


def _distinct(levels: NDArray) -> NDArray[np.intp]:
    """Return how many levels each image has."""
    return 1 + np.count_nonzero(np.diff(np.sort(levels, axis=1), axis=1), axis=1)


def _some(images: Sequence[DeepError], which: NDArray[np.bool_] | None = None) -> str:
    names = [image.name for place, image in enumerate(images) if which is None or which[place]]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
