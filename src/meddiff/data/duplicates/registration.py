"""Decide whether two images show one photograph: register them and compare the rest."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import affine_transform, binary_dilation, gaussian_filter, label

from meddiff.data.readers.decode import LUMA

MIN_CORRELATION = 0.4
"""Least correlation of the details of registered near duplicates."""
MAX_ROTATION = 0.5
"""Largest rotation of registered near duplicates, in degrees."""
MAX_RESIDUAL = 0.3
"""Largest residual of registered near duplicates, in standard deviations of the first's colours."""
MIN_CONTRAST = 2.0
"""Images of a smaller standard deviation, in grey levels, are not compared."""

SIDE = 128
"""Side at which near duplicates are confirmed, in pixels."""
FINE, COARSE, LOCAL = 1.5, 4.0, 6.0
"""Details: the difference of two blurs (FINE, COARSE) over their local strength (LOCAL). Standard
deviations of the blurs, in pixels."""
FLAT, FAINT = 1.0, 0.3
"""Details weaker than FLAT grey levels count less; a tile below FAINT of it has none."""
DARK, RIM = 50, 3
"""A frame is darker than DARK, from the border inwards; RIM more pixels are excluded with it."""
TILES, MIN_TILES = 8, 12
"""The correlation is taken in TILES x TILES tiles, of which at least MIN_TILES need details."""
PYRAMID = ((4, 5), (2, 4))
"""Registration: factor of reduction and number of iterations, coarse to fine."""
LIMITS = np.array([[0.06, 0.1]] * 2)
"""Largest shift, as a share of the side, and largest zoom, vertical and horizontal."""
STEP = 0.03
"""Largest change of a shift or zoom per iteration, since the fit is of first order."""

Plane = NDArray[np.float32]


class PreparedImage(NamedTuple):
    """An image resized to a square and prepared for `compare`.

    Attributes:
        levels: blurred luma for the registration, coarse to fine.
        details: float32 (SIDE, SIDE).
        valid: bool (SIDE, SIDE), false in a dark frame.
        colours: float32 (3, SIDE / 2, SIDE / 2).
    """

    levels: tuple[Plane, ...]
    details: Plane
    valid: NDArray[np.bool_]
    colours: Plane


class Likeness(NamedTuple):
    """Similarity of two registered images; see `compare`."""

    residual: float
    correlation: float
    rotation: float

    @property
    def is_same(self) -> bool:
        """Whether the two show one photograph, possibly edited."""
        return (
            self.residual <= MAX_RESIDUAL
            and self.correlation >= MIN_CORRELATION
            and abs(self.rotation) <= MAX_ROTATION
        )


def prepare(pixels: NDArray[np.uint8]) -> PreparedImage:
    """Prepare an image, uint8 (height, width, 3), for `compare`."""
    square = Image.fromarray(pixels).resize(
        (SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0
    )
    colours = np.asarray(square, np.float32)
    luma = colours @ LUMA.astype(np.float32)
    valid = ~binary_dilation(_frame(luma), iterations=RIM)
    return PreparedImage(
        tuple(_blur(_reduce(luma, factor), 1.0) for factor, _ in PYRAMID),
        _details(luma, valid),
        valid,
        np.stack([_reduce(channel, 2) for channel in colours.transpose(2, 0, 1)]),
    )


def match(first: PreparedImage, second: PreparedImage) -> Likeness:
    """Compare two images in both directions and return the better result.

    The order of the images does not matter then: where one image saturates, it lacks details of the
    other, and the two directions differ.
    """
    ways = compare(first, second), compare(second, first)
    return max(ways, key=lambda way: (way.is_same, way.correlation))


def compare(first: PreparedImage, second: PreparedImage) -> Likeness:
    """Register two images and compare them where both are valid.

    The second is shifted and zoomed, along each axis separately, until its luma fits the first's in
    least squares with a gain and an offset (Lucas and Kanade 1981), coarse to fine.

    Returns:
        `correlation` in [-1, 1] of the details, blurs between FINE and COARSE over their local
        strength: the lower quartile over tiles. So neither a dark blob on skin nor a few strong
        edges, such as those of a ruler or a hair, suffice. `residual`, at least 0: root mean
        square difference of the colours over the standard deviation of the first's, after a fit of
        each channel with a gain and an offset. `rotation`, in degrees.
    """
    motion, rotation = _register(first.levels, second.levels)
    valid = first.valid & (_move(second.valid.astype(np.float32), motion) > 0.99)
    inside = valid & _overlap(motion, SIDE, margin=4)
    if inside.mean() < MIN_TILES / TILES**2:
        return Likeness(1.0, 0.0, 0.0)
    correlation = _correlation(first.details, _move(second.details, motion), inside)
    half = inside[::2, ::2]
    moved = np.stack([_move(channel, motion) for channel in second.colours])
    residual = _residual(first.colours[:, half], moved[:, half])
    return Likeness(residual, correlation, float(np.degrees(rotation)))


def _register(
    first: tuple[Plane, ...], second: tuple[Plane, ...]
) -> tuple[NDArray[np.float64], float]:
    """Return the motion of the second's pixels onto the first's, and its rotation.

    The motion is (shift, zoom), vertical and horizontal; shifts are shares of the side, zooms are
    about the centre. The rotation, in radians, is estimated but not applied.
    """
    motion, rotation = np.zeros((2, 2)), 0.0
    for target, source, (_, repeats) in zip(first, second, PYRAMID, strict=True):
        for _ in range(repeats):
            inside = _overlap(motion, len(target), margin=1)
            step, rotation = _fit_step(target, _move(source, motion), inside)
            motion = np.clip(motion + step.clip(-STEP, STEP), -LIMITS, LIMITS)
    return motion, rotation


def _fit_step(
    target: Plane, moved: Plane, inside: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], float]:
    """Fit target = offset + gain * (moved + the change by a small motion and rotation)."""
    side = len(target)
    x = (np.arange(side, dtype=np.float32) - (side - 1) / 2) / side
    y = x[:, None]
    down, right = side * np.gradient(moved, axis=0), side * np.gradient(moved, axis=1)
    parts = np.ones_like(moved), moved, down, y * down, right, x * right, x * down - y * right
    basis = np.stack([part[inside] for part in parts], dtype=np.float64)
    # The cut-off leaves an image without gradients unmoved.
    fit = np.linalg.lstsq(basis @ basis.T, basis @ target[inside], rcond=1e-10)[0]
    change = fit[2:] / max(fit[1], 0.3)
    return change[:4].reshape(2, 2), float(change[4])


def _move(image: Plane, motion: NDArray[np.float64]) -> Plane:
    shift, zoom = motion.T
    centre = (len(image) - 1) / 2
    offset = shift * len(image) - zoom * centre
    return affine_transform(image, 1 + zoom, offset, order=1, mode="nearest")


def _overlap(motion: NDArray[np.float64], side: int, margin: int) -> NDArray[np.bool_]:
    """Return the pixels at least `margin` inside both images, bool (side, side)."""
    first = np.arange(side)
    centre = (side - 1) / 2
    shift, zoom = motion[:, :1], motion[:, 1:]
    second = first + side * shift + zoom * (first - centre)
    lowest, highest = np.minimum(first, second), np.maximum(first, second)
    down, right = (lowest >= margin) & (highest <= side - 1 - margin)
    return down[:, None] & right


def _reduce(image: Plane, factor: int) -> Plane:
    side = len(image) // factor
    return image.reshape(side, factor, side, factor).mean((1, 3))


def _blur(image: Plane, sigma: float) -> Plane:
    return gaussian_filter(image, sigma, mode="nearest", truncate=3.0)


def _frame(luma: Plane) -> NDArray[np.bool_]:
    """Return the dark pixels that are connected to dark ones at the border."""
    parts, _ = label(luma < DARK)
    border = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    return np.isin(parts, border[border > 0])


def _details(luma: Plane, valid: NDArray[np.bool_]) -> Plane:
    """Return details finer than a lesion over their local strength, from valid pixels only."""
    weight = valid.astype(np.float32)

    def blur(image: Plane, sigma: float) -> Plane:
        return _blur(image * weight, sigma) / _blur(weight, sigma).clip(1e-3)

    band = blur(luma, FINE) - blur(luma, COARSE)
    return band / np.sqrt(blur(band**2, LOCAL) + FLAT**2)


def _correlation(first: Plane, second: Plane, inside: NDArray[np.bool_]) -> float:
    """Return the lower quartile over the tiles that are at least half inside and have details."""
    weight, size = inside.astype(np.float32), SIDE // TILES
    share = _reduce(weight, size)
    one, two = (_reduce(part**2 * weight, size) for part in (first, second))
    usable = (share >= 0.5) & (np.maximum(one, two) >= FAINT**2 * share)
    correlation = _reduce(first * second * weight, size) / np.sqrt(one * two).clip(1e-6)
    return float(np.percentile(correlation[usable], 25)) if usable.sum() >= MIN_TILES else 0.0


def _residual(first: Plane, second: Plane) -> float:
    """Return the relative residual of colours (3, n) after a fit of each channel to the other's."""
    first = first - first.mean(1, keepdims=True)
    second = second - second.mean(1, keepdims=True)
    gain = (first * second).sum(1) / (second**2).sum(1).clip(1e-3)
    rest = first - gain[:, None] * second
    return float(np.sqrt((rest**2).mean()) / max(np.sqrt((first**2).mean()), MIN_CONTRAST))
