"""Drawn dermoscopy: skin, a pigmented lesion under the ABCD rule, light and hair.

Colour follows Beer and Lambert: skin returns light * exp(-absorption), and every pigment adds to
the absorption. The classes differ in asymmetry, border, colours and diameter (Nachbar et al. 1994,
"The ABCD rule of dermatoscopy"), each drawn from distributions that overlap. Lengths are fractions
of the image's short side, angles are in radians, colours are RGB.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from meddiff.core.randomness import stream

Colour = tuple[float, float, float]
Point = tuple[float, float]
Hair = tuple[Point, Point, Point, float]
Plane = NDArray[np.floating]

MELANIN: Colour = (0.45, 0.85, 1.25)
BLOOD: Colour = (0.05, 0.55, 0.45)
PATCH_COLOURS: dict[str, Colour] = {
    "dark brown": (0.75, 0.90, 0.90),
    "black": (1.15, 1.00, 0.85),
    "red": (0.0, 0.30, 0.15),
    "blue-grey": (0.65, 0.25, -0.20),
    "white": (-0.40, -0.60, -0.75),
}
HARMONICS = 14
BORDER_SAMPLES = 1024
TEXTURE_EXTENT = 1.4


@dataclass(frozen=True)
class Patch:
    """A spot of another colour in a lesion: absorption added at `centre`, fading to `radius`.

    Both are fractions of the lesion's radius.
    """

    absorption: Colour
    centre: Point
    radius: float


@dataclass(frozen=True)
class Lesion:
    """What all photographs of one lesion have in common.

    `border` holds the Fourier coefficients 1, 2, ... of the logarithm of the outline's radius over
    the angle; `ragged` scales its fine roughness, `softness` its width, `texture_seed` its network.
    """

    skin: Colour
    radius: float
    border: tuple[complex, ...]
    ragged: float
    softness: float
    absorption: Colour
    gradient: Point
    patches: tuple[Patch, ...]
    network: float
    texture_seed: int


@dataclass(frozen=True)
class View:
    """What differs between photographs of one lesion: pose, light and hair.

    `hairs` are quadratic Bezier curves: three points (x, y) from the image's corner, and a width.
    `light` multiplies the three channels; `slope` is the change of brightness over the image.
    """

    rotation: float
    zoom: float
    shift: Point
    light: Colour
    slope: Point
    vignette: float
    hairs: tuple[Hair, ...]
    noise: float
    noise_seed: int


def sample_skin(rng: np.random.Generator) -> Colour:
    """Draw a skin's reflectance in (0, 1): mostly light, by melanin and blood."""
    melanin, blood = 0.08 + 1.1 * rng.beta(1.2, 4), rng.uniform(0.05, 0.4)
    return _colour(0.98 * np.exp(-0.8 * melanin * np.array(MELANIN) - blood * np.array(BLOOD)))


def sample_lesion(rng: np.random.Generator, malignant: bool, skin: Colour | None = None) -> Lesion:
    """Draw a lesion of a class, on `skin` or on newly drawn skin."""
    own_skin = sample_skin(rng)
    asymmetry = rng.beta(4, 3) if malignant else rng.beta(2, 5)
    irregularity = rng.beta(2.5, 3) if malignant else rng.beta(1.5, 5)
    spread = rng.beta(4, 3) if malignant else rng.beta(2, 5)
    return Lesion(
        skin=skin or own_skin,
        radius=rng.uniform(0.23, 0.34) if malignant else rng.uniform(0.19, 0.32),
        border=_sample_border(rng, asymmetry, irregularity),
        ragged=0.02 + 0.11 * irregularity,
        softness=rng.uniform(0.08, 0.22),
        absorption=_sample_absorption(rng),
        gradient=_polar(0.5 * asymmetry * rng.uniform(0.3, 1.0), rng.uniform(0, 2 * math.pi)),
        patches=_sample_patches(rng, malignant, spread),
        network=rng.uniform(0.05, 0.2) + 0.2 * irregularity,
        texture_seed=int(rng.integers(2**63)),
    )


def sample_view(rng: np.random.Generator) -> View:
    """Draw a photograph's pose, light and hair; few have hair, and that is thin."""
    hairs = rng.integers(1, 5) if rng.random() < 0.15 else 0
    return View(
        rotation=rng.uniform(0, 2 * math.pi),
        zoom=rng.uniform(0.88, 1.14),
        shift=_polar(rng.uniform(0, 0.05), rng.uniform(0, 2 * math.pi)),
        light=_colour(rng.uniform(0.86, 1.04) * (1 + rng.normal(0, 0.025, 3))),
        slope=_polar(rng.uniform(0, 0.14), rng.uniform(0, 2 * math.pi)),
        vignette=rng.uniform(0, 0.22),
        hairs=tuple(_sample_hair(rng) for _ in range(hairs)),
        noise=rng.uniform(0.002, 0.006),
        noise_seed=int(rng.integers(2**63)),
    )


def draw_lesion(
    lesion: Lesion, view: View, size: int | tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Draw a lesion as a view shows it, uint8 (height, width, 3), and its mask, bool.

    `size` is the side of a square, or (height, width), in pixels.
    """
    height, width = (size, size) if isinstance(size, int) else size
    x, y = _image_coordinates(height, width)
    u, v = _lesion_coordinates(x, y, lesion, view)
    # Fixed to the skin.
    texture = stream(lesion.texture_seed, "phantom texture")
    coarse, fine = (_noise(texture, cells, view, height, width) for cells in (48, 128))
    depth = _outline(lesion, u, v) + lesion.ragged * coarse
    absorption = _absorption(lesion, u, v, depth, coarse, fine)
    image = np.exp(-absorption) * np.array(lesion.skin, np.float32)[:, None, None]
    image *= _light(view, x, y)
    _cover_with_hair(image, view)
    grain = stream(view.noise_seed, "phantom grain").standard_normal((height, width), np.float32)
    image += view.noise * grain
    pixels = np.clip(255 * image + 0.5, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(1, 2, 0)), depth > 0


def _colour(values: NDArray[np.float64]) -> Colour:
    red, green, blue = values.tolist()
    return red, green, blue


def _polar(length: float, angle: float) -> Point:
    return length * math.cos(angle), length * math.sin(angle)


def _sample_border(
    rng: np.random.Generator, asymmetry: float, irregularity: float
) -> tuple[complex, ...]:
    """Draw the harmonics: 2 is an ellipse, 3 and 4 break its symmetry, 5 and up roughen it."""
    order = np.arange(1, HARMONICS + 1)
    scale = np.where(order >= 5, 0.9 * irregularity / order**1.4, 0.0)
    scale[1:4] = rng.uniform(0.02, 0.2), 0.22 * asymmetry, 0.1 * asymmetry
    phase = rng.uniform(0, 2 * math.pi, HARMONICS)
    return tuple((scale * rng.uniform(0.6, 1.2, HARMONICS) * np.exp(1j * phase)).tolist())


def _sample_absorption(rng: np.random.Generator) -> Colour:
    melanin, blood = rng.uniform(0.5, 1.25), rng.uniform(0, 0.45)
    return _colour(melanin * np.array(MELANIN) + blood * np.array(BLOOD))


def _sample_patches(rng: np.random.Generator, malignant: bool, spread: float) -> tuple[Patch, ...]:
    """Draw the further colours; in a benign lesion mostly none, and then central and brown."""
    count = rng.choice(4, p=(0.08, 0.27, 0.4, 0.25) if malignant else (0.6, 0.32, 0.08, 0.0))
    weights = (0.35, 0.2, 0.15, 0.2, 0.1) if malignant else (0.7, 0.1, 0.15, 0.05, 0.0)
    names = rng.choice(list(PATCH_COLOURS), size=count, replace=False, p=weights)
    return tuple(
        Patch(
            absorption=_colour(rng.uniform(0.6, 1.1) * np.array(PATCH_COLOURS[name])),
            centre=_polar(rng.uniform(0.2, 1.0) * spread, rng.uniform(0, 2 * math.pi)),
            radius=rng.uniform(0.4, 0.8),
        )
        for name in names
    )


def _sample_hair(rng: np.random.Generator) -> Hair:
    """Draw a bent hair through the image: two ends, the bend between them and the width."""
    middle, reach = rng.uniform(0.15, 0.85, 2), rng.uniform(0.25, 0.7)
    along = np.array(_polar(reach, rng.uniform(0, 2 * math.pi)))
    bend = middle + rng.uniform(-0.5, 0.5) * along[::-1] * (1, -1)
    start, turn, end = ((float(x), float(y)) for x, y in (middle - along, bend, middle + along))
    return start, turn, end, rng.uniform(0.005, 0.010)


def _image_coordinates(height: int, width: int) -> tuple[Plane, Plane]:
    """Return pixel centres, zero in the middle: x (1, width) and y (height, 1)."""
    side = min(height, width)
    x = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / side
    y = (np.arange(height, dtype=np.float32) + 0.5 - height / 2) / side
    return x[None, :], y[:, None]


def _pose(view: View) -> tuple[float, float, float, float]:
    """Return (cosine, sine, x offset, y offset) of the map from the image to the skin."""
    cosine, sine = math.cos(view.rotation) / view.zoom, math.sin(view.rotation) / view.zoom
    x, y = view.shift
    return cosine, sine, -cosine * x - sine * y, sine * x - cosine * y


def _lesion_coordinates(x: Plane, y: Plane, lesion: Lesion, view: View) -> tuple[Plane, Plane]:
    """Return the pixels' places on the skin, in units of the lesion's radius."""
    cosine, sine, right, down = (np.float32(value / lesion.radius) for value in _pose(view))
    return cosine * x + sine * y + right, cosine * y - sine * x + down


def _noise(rng: np.random.Generator, cells: int, view: View, height: int, width: int) -> Plane:
    """Interpolate a grid of normal values, TEXTURE_EXTENT half-wide, at the pixels of a view."""
    grid = Image.fromarray(rng.standard_normal((cells, cells), np.float32))
    scale, side = cells / (2 * TEXTURE_EXTENT), min(height, width)
    cosine, sine, right, down = (scale * value for value in _pose(view))
    x, y = width / 2 / side, height / 2 / side
    matrix = (
        *(cosine / side, sine / side, right - cosine * x - sine * y + cells / 2),
        *(-sine / side, cosine / side, down + sine * x - cosine * y + cells / 2),
    )
    noise = grid.transform(
        (width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )
    return np.asarray(noise)


def _outline(lesion: Lesion, u: Plane, v: Plane) -> Plane:
    """Return how far inside the outline each pixel lies, in radii; negative is outside."""
    spectrum = np.zeros(BORDER_SAMPLES // 2 + 1, complex)
    spectrum[1 : 1 + len(lesion.border)] = lesion.border
    border = np.exp(np.fft.irfft(spectrum, BORDER_SAMPLES) * BORDER_SAMPLES / 2)
    turn = np.arctan2(v, u) * np.float32(BORDER_SAMPLES / (2 * math.pi))
    return border.astype(np.float32)[turn.astype(np.int32) % BORDER_SAMPLES] - np.hypot(u, v)


def _absorption(
    lesion: Lesion, u: Plane, v: Plane, depth: Plane, coarse: Plane, fine: Plane
) -> Plane:
    """Sum the pigments' absorption over a lesion, (3, height, width)."""
    amount = _smoothstep(0.5 + depth / (2 * lesion.softness))
    density = 1 + lesion.gradient[0] * u + lesion.gradient[1] * v + 0.06 * coarse
    density += lesion.network * (0.5 - np.minimum(np.abs(fine), 1))
    total = _outer(lesion.absorption, amount * density)
    for patch in lesion.patches:
        distance = (u - patch.centre[0]) ** 2 + (v - patch.centre[1]) ** 2
        share = _smoothstep(1.1 - distance / patch.radius**2 + 0.2 * coarse)
        total += _outer(patch.absorption, amount * share)
    total += _outer(BLOOD, 0.03 * coarse + 0.02 * fine)
    return np.maximum(total, -0.1)


def _outer(colour: Colour, plane: Plane) -> Plane:
    return np.array(colour, np.float32)[:, None, None] * plane


def _smoothstep(values: Plane) -> Plane:
    """Rise from 0 to 1 over [0, 1] with a flat start and end."""
    clipped = np.clip(values, 0, 1)
    return clipped * clipped * (3 - 2 * clipped)


def _light(view: View, x: Plane, y: Plane) -> Plane:
    """Return the light on each pixel, (3, height, width)."""
    squared = x * x + y * y
    field = (1 + view.slope[0] * x + view.slope[1] * y) * (1 - 2 * view.vignette * squared**2)
    return _outer(view.light, field)


def _cover_with_hair(image: Plane, view: View) -> None:
    """Darken `image`, (3, height, width), in place where a hair lies."""
    if not view.hairs:
        return
    height, width = image.shape[1:]
    scale = 3
    canvas = Image.new("L", (scale * width, scale * height))
    pen = ImageDraw.Draw(canvas)
    side = scale * min(height, width)
    t = np.linspace(0, 1, 24)[:, None]
    for start, turn, end, thickness in view.hairs:
        curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * turn + t**2 * end
        pen.line((side * curve).ravel().tolist(), 255, max(1, round(side * thickness)))
    cover = np.asarray(canvas.reduce(scale), np.float32) / 255
    image *= 1 - 0.7 * cover
