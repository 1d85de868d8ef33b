"""Structural similarity of all pairs of images: SSIM and multi-scale SSIM (MS-SSIM).

SSIM: Wang et al., "Image quality assessment: from error visibility to structural similarity"
(IEEE TIP 2004), eq. 13. MS-SSIM: Wang, Simoncelli and Bovik, "Multiscale structural similarity for
image quality assessment" (Asilomar 2003), eq. 7. Window, borders and the treatment of negative
values follow MONAI's `SSIMMetric` and `MultiScaleSSIMMetric` in float64: a Gaussian window over
the positions where it fits wholly, the mean over channels and positions, and negative contrast
(or, on the last scale, negative SSIM) raised to zero before the scales are multiplied.

`structural_cpu` measures pairs in float64, `structural_gpu` in float32.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypedDict, Unpack

import numpy as np

from meddiff.core.errors import MeddiffError
from meddiff.core.progress import OnProgress
from meddiff.metrics import structural_cpu
from meddiff.metrics.features import Array
from meddiff.metrics.images import SMALLEST_WINDOW, Images, check_same_shape, checked
from meddiff.metrics.structural_cpu import Measure


class WindowOptions(TypedDict, total=False):
    """Options of the window, as `ssim_pairs` has them."""

    sigma: float
    k1: float
    k2: float


_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def ssim_pairs(
    images: Images,
    *,
    kernel_size: int = 11,
    progress: OnProgress | None = None,
    device: str = "cpu",
    **window: Unpack[WindowOptions],
) -> Array:
    """Return the SSIM of every pair i < j of a set of images.

    Args:
        images: uint8 (n, h, w) or (n, h, w, c), n >= 2, read in blocks, so it may be a memory map.
        kernel_size: taps of the Gaussian window, 2 or more.
        progress: called now and then with the number of pairs done.
        device: "cpu", in float64, or a GPU, in float32; they agree within 1e-5.
        window: `sigma`, the standard deviation of the window in px (1.5); `k1` and `k2`, the
            stability constants of luminance (0.01) and contrast (0.03) for a data range of 1.

    Returns:
        float64 (n (n - 1) / 2,) in the order of `itertools.combinations(range(n), 2)`, each value
        in [-1, 1].

    Raises:
        MeddiffError: another dtype or shape, fewer than two images, images smaller than the window,
            or settings out of range.
    """
    return _pairs(Measure(kernel_size, **window), images, progress, device)


def ms_ssim_pairs(
    images: Images,
    *,
    kernel_size: int = 4,
    weights: Sequence[float] = _WEIGHTS,
    progress: OnProgress | None = None,
    device: str = "cpu",
    **window: Unpack[WindowOptions],
) -> Array:
    """Return the MS-SSIM of every pair i < j of a set of images, each value in [0, 1].

    The window must fit the last scale: with five scales, `kernel_size` is at most 4 for images of
    64 px, and 2 for 32 px. Other arguments, shapes and errors are those of `ssim_pairs`.

    Args:
        weights: exponent of each scale; each is half the size of the one before.
    """
    measure = Measure(kernel_size, **window, weights=tuple(weights))
    return _pairs(measure, images, progress, device)


def ssim_between(
    images_a: Images,
    images_b: Images,
    *,
    kernel_size: int = 11,
    progress: OnProgress | None = None,
    device: str = "cpu",
    **window: Unpack[WindowOptions],
) -> Array:
    """Return the SSIM of every image of one set with every image of another, float64 (n, m).

    Arguments and errors are those of `ssim_pairs`; one image per set is enough, and the images of
    both sets must have the same shape.
    """
    measure = Measure(kernel_size, **window)
    return _between(measure, images_a, images_b, progress, device)


def ms_ssim_between(
    images_a: Images,
    images_b: Images,
    *,
    kernel_size: int = 4,
    weights: Sequence[float] = _WEIGHTS,
    progress: OnProgress | None = None,
    device: str = "cpu",
    **window: Unpack[WindowOptions],
) -> Array:
    """Return the MS-SSIM of every image of one set with every image of another, float64 (n, m).

    Arguments and errors are those of `ms_ssim_pairs`; one image per set is enough, and the images
    of both sets must have the same shape.
    """
    measure = Measure(kernel_size, **window, weights=tuple(weights))
    return _between(measure, images_a, images_b, progress, device)


def _pairs(measure: Measure, images: Images, progress: OnProgress | None, device: str) -> Array:
    images = _checked(measure, "images", images, at_least=2)
    n = len(images)
    runs = _runs_on(device, measure, images, images, upper=True)
    values = np.empty(n * (n - 1) // 2)
    return _collected(runs, values, lambda i, j: i * (2 * n - i - 3) // 2 + j - 1, progress)


def _between(
    measure: Measure, a: Images, b: Images, progress: OnProgress | None, device: str
) -> Array:
    a = _checked(measure, "images_a", a, at_least=1)
    b = _checked(measure, "images_b", b, at_least=1)
    check_same_shape(measure, a, b)
    runs = _runs_on(device, measure, a, b, upper=False)
    values = np.empty(len(a) * len(b))
    return _collected(runs, values, lambda i, j: i * len(b) + j, progress).reshape(len(a), len(b))


def _collected(
    runs: Iterator[tuple[int, int, Array]],
    values: Array,
    position: Callable[[int, int], int],
    progress: OnProgress | None,
) -> Array:
    done = 0
    for i, j, scores in runs:
        start = position(i, j)
        values[start : start + len(scores)] = scores
        done += len(scores)
        if progress is not None:
            progress(done)
    return values


def _runs_on(
    device: str, measure: Measure, a: Images, b: Images, *, upper: bool
) -> Iterator[tuple[int, int, Array]]:
    if device == "cpu":
        return structural_cpu.runs(measure, a, b, upper=upper)
    # Imports torch, which the CPU does without.
    from meddiff.metrics import structural_gpu

    taps = structural_cpu.window_taps(measure.kernel_size, measure.sigma)
    window = structural_gpu.Window(taps, measure.k1**2, measure.k2**2, measure.weights)

    def exact(i: int, places: Sequence[int]) -> Array:
        one, many = measure.pyramid(a[i : i + 1]), measure.pyramid(b[places])
        return measure.scores(structural_cpu.at(one, 0), many)

    return structural_gpu.runs(window, a, b, exact, upper=upper, device=device)


def _checked(measure: Measure, name: str, images: Images, *, at_least: int) -> Images:
    """Return images as (n, h, w, c)."""
    images = checked(measure, name, images, at_least=at_least)
    _check_window_fits(measure, *images.shape[1:3])
    return images


def _check_window_fits(measure: Measure, height: int, width: int) -> None:
    shrink = 2 ** (measure.scales - 1)
    coarsest = min(height, width) // shrink
    if coarsest >= measure.kernel_size:
        return
    fits = coarsest >= SMALLEST_WINDOW
    remedy = f"use kernel_size <= {coarsest}" if fits else "use fewer weights"
    raise MeddiffError(
        f"{measure}: images of {height}x{width} are {height // shrink}x{width // shrink} on the "
        f"last scale, smaller than the window: {remedy}, or images of at least "
        f"{measure.kernel_size * shrink} px"
    )
