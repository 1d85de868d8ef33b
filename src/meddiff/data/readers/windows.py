"""Choose one window, from levels to 8-bit grey, for all images of a set that have more than 8 bits.

A window per image would make dark and bright images alike. So the levels of a set are pooled, and
sets whose images have several ranges are refused.
"""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meddiff.core.errors import MeddiffError, first_names
from meddiff.data.readers.depth import (
    NO_WINDOWS,
    WHOLE_DEPTHS,
    MissingWindowError,
    Window,
    Windows,
    apply_window,
)

log = logging.getLogger(__name__)

OUTLIERS = 0.02
"""Share of a set's levels at each end, besides the outermost level, that may be outliers: those
farther from the others than the others span."""
N_REPEATED = 2
"""Markers, hot pixels and padding: this many levels make up half of the outliers…"""
MIN_LEVELS = 32
"""…in a set of more levels than this."""
FILLED = 0.25
"""Share of a whole depth's range that levels must span for it to become the window."""
DETAILED = 64
"""An image with at least this many levels has detail…"""
FLAT = 32
"""…which is lost in fewer grey levels than this."""
MAX_LOST = 0.1
"""Largest share of a set's images that may lose detail by the window of the set."""


def choose_windows(
    deep: Sequence[MissingWindowError], total: int, fixed: Windows = NO_WINDOWS
) -> dict[str, Window]:
    """Choose the window of each type of pixels in a set, and log it.

    Args:
        deep: the set's images of more than 8 bits.
        total: number of images in the set, 8-bit ones included.
        fixed: windows of types that are not chosen here, such as those of a reference set.

    Raises:
        MeddiffError: too many images of a type lose detail in its window.
    """
    windows = {}
    for type in sorted({image.type for image in deep}):
        images = sorted((image for image in deep if image.type == type), key=lambda i: i.name)
        windows[type] = _choose_for_type(images, total, fixed.get(type))
    return windows


def choose_window(levels: NDArray[np.float64], *, whole: bool) -> Window:
    """Return the window of a set.

    It is the smallest whole depth (0 to 255, 511, … for whole levels; 0 to 1, 255, … for others)
    that contains the levels, so that adding images rarely changes it. Levels that span less than
    FILLED of it, or reach below 0, have a window from their lowest to their highest.

    Args:
        levels: quantiles, (images, N_QUANTILES).
        whole: levels are whole numbers.
    """
    low, high = _range_of(np.sort(levels, axis=None))
    tops = [depth - 1 for depth in WHOLE_DEPTHS]
    top = next((top for top in (tops if whole else [1, *tops]) if top >= high), high)
    if low >= 0 and (high - low >= FILLED * top or high == low):
        return 0.0, float(top)
    return (low, high) if high > low else (low - 1, low + 1)


def window_texts(types: pd.Series, windows: Windows) -> pd.Series:
    """Return each image's window as text, e.g. `uint16: 0 4095`; `<NA>` for 8 bits."""
    texts = {type: f"{type}: {low:.17g} {high:.17g}" for type, (low, high) in windows.items()}
    return types.map(texts).astype("string")


def windows_of(table: pd.DataFrame) -> dict[str, Window]:
    """Return the windows in the column `window` of a table of images."""
    if "window" not in table:
        return {}
    windows = {}
    for text in table["window"].dropna().unique():
        type, ends = text.split(": ")
        low, high = map(float, ends.split())
        windows[type] = (low, high)
    return windows


def _choose_for_type(
    images: Sequence[MissingWindowError], total: int, fixed: Window | None
) -> Window:
    levels = np.stack([image.levels for image in images])
    whole = images[0].type != "float32"
    window = fixed or choose_window(levels, whole=whole)
    lost, beyond = _unsuited(levels, window, whole)
    misfits = lost | beyond
    for row in np.flatnonzero(misfits):
        own = levels[[row]]
        misfits[row] = not np.any(_unsuited(own, choose_window(own, whole=whole), whole))
    if misfits.mean() > MAX_LOST:
        raise _several_ranges(images, levels, window, misfits, total, fixed is not None)
    outside = (levels < window[0]) | (levels > window[1])
    log.warning(
        "%d of %d images have %s pixels: levels %.6g to %.6g of all of them become black to white; "
        "about %.2g %% of their pixels lie outside (%s)",
        *(len(images), total, images[0].type, *window, 100 * outside.mean()),
        _first_names(images),
    )
    for problem, which in {"lose detail there": lost, "lie mostly outside": beyond}.items():
        if which.any():
            names = _first_names(images, which)
            log.warning("%d of them %s: %s", np.count_nonzero(which), problem, names)
    return window


def _several_ranges(
    images: Sequence[MissingWindowError],
    levels: NDArray[np.float64],
    window: Window,
    misfits: NDArray[np.bool_],
    total: int,
    fixed: bool,
) -> MeddiffError:
    inside = (levels >= window[0]) & (levels <= window[1])
    widest = images[int(np.where(inside, levels, -np.inf).max(axis=1).argmax())].name
    origin = "" if fixed else f"(as in {widest}) "
    return MeddiffError(
        f"{len(images)} of {total} images have {images[0].type} pixels, of which levels "
        f"{window[0]:.6g} to {window[1]:.6g} {origin}would become black to white; "
        f"{np.count_nonzero(misfits)} of them have another range and would lose detail "
        f"({_first_names(images, misfits)}): rescale all images to one range, or set a window "
        "(data.folder.window or percentiles; --window)"
    )


def _unsuited(
    levels: NDArray[np.float64], window: Window, whole: bool
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which images lose detail in a window, and which lie mostly outside it."""
    greys = apply_window(levels, window, whole=whole)
    lost = (_distinct(levels) >= DETAILED) & (_distinct(greys) < FLAT)
    return lost, ((levels < window[0]) | (levels > window[1])).mean(axis=1) > 0.5


def _range_of(pooled: NDArray[np.float64]) -> Window:
    """Return the ends of sorted levels without outliers that are mostly one level or two.

    Markers, hot pixels and padding repeat a level; a small bright part has many levels.
    """
    inner = pooled[(pooled > pooled[0]) & (pooled < pooled[-1])]
    if len(np.unique(pooled)) > MIN_LEVELS:
        spare = int(OUTLIERS * len(inner))
        low, high = inner[spare], inner[-1 - spare]
        above, below = pooled > 2 * high - low, pooled < 2 * low - high
        outliers = [far for far in (above, below) if low < high and _is_repeated(pooled[far])]
        pooled = pooled[~np.any(outliers, axis=0)] if outliers else pooled
    return float(pooled[0]), float(pooled[-1])


def _is_repeated(levels: NDArray[np.float64]) -> bool:
    counts = np.sort(np.unique(levels, return_counts=True)[1])
    return 2 * int(counts[-N_REPEATED:].sum()) >= len(levels)


def _distinct(levels: NDArray) -> NDArray[np.intp]:
    """Return the number of distinct levels of each image."""
    return 1 + np.count_nonzero(np.diff(np.sort(levels, axis=1), axis=1), axis=1)


def _first_names(
    images: Sequence[MissingWindowError], which: NDArray[np.bool_] | None = None
) -> str:
    names = [image.name for row, image in enumerate(images) if which is None or which[row]]
    return first_names(names, 3)
