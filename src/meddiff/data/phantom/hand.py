"""Drawn radiographs of a hand, like those of MedNIST: bright bones in grey flesh on black.

Points on the hand are complex numbers in mm: the real axis runs across the palm from the thumb,
the imaginary axis from the middle of the wrist to the fingertips.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

Points = NDArray[np.complex128]
Plane = NDArray[np.float32]

# Metacarpal, proximal, middle (the thumb has none) and distal phalanx in mm, thumb first:
# Buryanov & Kotiuk 2010, "Proportions of hand segments", Int J Morphol 28(3):755-758.
SEGMENTS = (
    (46.2, 31.6, 21.7),
    (68.1, 39.8, 22.4, 15.8),
    (64.6, 44.6, 26.3, 17.4),
    (58.0, 41.4, 25.7, 17.3),
    (53.7, 32.7, 18.1, 16.0),
)
HEADS = (5.4, 4.9, 4.2, 3.3)
METACARPAL_BASES = (-19 + 18j, -11 + 27j, -1.5 + 28j, 8 + 26.5j, 16 + 23j)
METACARPAL_ANGLES = (-0.78, -0.2, -0.03, 0.14, 0.3)
FINGER_ANGLES = (-0.45, -0.14, -0.02, 0.11, 0.28)
CARPALS = (
    *((-15.0 + 16.5j, 4.9), (-8.0 + 20.0j, 4.4), (1.0 + 18.5j, 6.0), (11.0 + 17.0j, 5.4)),
    *((-11.5 + 6.5j, 5.8), (-1.0 + 6.0j, 5.2), (8.0 + 6.0j, 4.6), (16.0 + 8.5j, 3.4)),
)
FRAME = 242.0
PALM = 86j
SUPERSAMPLING = 4


@dataclass(frozen=True)
class Bone:
    """A long bone: its two ends, and the half widths of base, shaft and tip in mm."""

    start: complex
    end: complex
    base: float
    shaft: float
    tip: float


@dataclass(frozen=True)
class Pose:
    """Where the hand lies in the image: `scale` in pixels per mm, and whether it is mirrored."""

    origin: complex
    turn: complex
    scale: float
    mirrored: bool

    def __call__(self, points: Points) -> Points:
        """Return x + iy in pixels, y down, for points on the hand."""
        flipped = -points if self.mirrored else points.conj()
        return self.origin + self.scale * self.turn * flipped


def draw_hand(rng: np.random.Generator, size: int = 64) -> NDArray[np.uint8]:
    """Draw a hand of random pose, size, spread, exposure and side, uint8 (size, size)."""
    pose = _sample_pose(rng, size * SUPERSAMPLING)
    rays = _sample_rays(rng)
    flesh = _draw_flesh(rays, pose, size, rng.uniform(0.9, 1.15))
    bones = _draw_bones(rays, pose, size)
    grey = _expose(flesh, bones, rng)
    return np.clip(255 * grey + 0.5, 0, 255).astype(np.uint8)


def _sample_pose(rng: np.random.Generator, side: int) -> Pose:
    """Draw place, size, tilt and side, with the palm near the middle of the image."""
    scale = side / FRAME * rng.uniform(0.9, 1.08)
    turn, mirrored = np.exp(1j * rng.normal(0, 0.1)), bool(rng.random() < 0.4)
    centre = side * complex(*rng.uniform(0.47, 0.53, 2))
    palm = Pose(0, turn, scale, mirrored)(np.array(PALM))
    return Pose(centre - complex(palm), complex(turn), scale, mirrored)


def _sample_rays(rng: np.random.Generator) -> list[list[Bone]]:
    """Draw each finger's bones from the wrist to the tip, thumb first."""
    spread, bend, build = rng.uniform(0.5, 1.6), rng.normal(0, 0.05), rng.uniform(0.88, 1.1)
    fingers = spread * np.array(FINGER_ANGLES) + bend + rng.normal(0, 0.03, 5)
    return [
        list(_ray(base, lengths, metacarpal, finger, build))
        for base, lengths, metacarpal, finger in zip(
            METACARPAL_BASES, SEGMENTS, METACARPAL_ANGLES, fingers, strict=True
        )
    ]


def _ray(
    base: complex, lengths: tuple[float, ...], metacarpal: float, finger: float, build: float
) -> Iterator[Bone]:
    """Chain a metacarpal and its phalanges, each thinner, with a joint's gap between them."""
    start, gap = base, 1.5
    for joint, length in enumerate(lengths):
        along = 1j * np.exp(-1j * (finger if joint else metacarpal))
        head = build * HEADS[joint]
        tip = 0.8 * head if joint < len(lengths) - 1 else 0.55 * head
        yield Bone(start, start + (length - gap) * along, head, 0.58 * head, tip)
        start += length * along


def _forearm() -> tuple[Bone, Bone]:
    """Return radius and ulna, which run out of the frame."""
    return Bone(-7 - 4j, -5 - 90j, 9.0, 5.2, 6.0), Bone(11 - 3j, 9 - 90j, 4.8, 4.0, 5.0)


def _draw_bones(rays: list[list[Bone]], pose: Pose, size: int) -> Plane:
    """Return how much bone lies on each pixel, in [0, 1]."""
    canvas, pen = _canvas(size)
    for bone in (*_forearm(), *(bone for ray in rays for bone in ray)):
        pen.polygon(_flat(pose(_bone_outline(bone))), 255)
    for centre, radius in CARPALS:
        _dot(pen, pose, centre, radius, 225)
    return _plane(canvas, blur=0.35)


def _bone_outline(bone: Bone) -> Points:
    """Return a long bone's outline: a waisted shaft between two rounded ends."""
    t = np.linspace(-1, 1, 13)
    ends = np.where(t < 0, bone.base, bone.tip)
    width = bone.shaft + (ends - bone.shaft) * t**4
    width *= np.sqrt(1 - 0.75 * np.abs(t) ** 12)
    axis = bone.end - bone.start
    middle = bone.start + axis * (t + 1) / 2
    side = 1j * axis / abs(axis) * width
    return np.concatenate((middle + side, (middle - side)[::-1]))


def _draw_flesh(rays: list[list[Bone]], pose: Pose, size: int, thickness: float) -> Plane:
    """Return how thick the flesh is at each pixel, in [0, 1]."""
    canvas, pen = _canvas(size)
    knuckles = [ray[0].end for ray in rays]
    forearm = [24 - 2j, 26 - 90j, -26 - 90j, -24 - 2j]
    pen.polygon(_flat(pose(np.array([*knuckles, 19 + 14j, *forearm, -21 + 14j]))), 255)
    for ray in rays:
        for bone in ray:
            radius = thickness * (bone.base + 4.5)
            ends = _flat(pose(np.array([bone.start, bone.end])))
            pen.line(ends, 255, round(2 * radius * pose.scale))
            _dot(pen, pose, bone.start, radius, 255)
            _dot(pen, pose, bone.end, 0.97 * radius, 255)
    return _plane(canvas, blur=0.7)


def _canvas(size: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    canvas = Image.new("L", (size * SUPERSAMPLING, size * SUPERSAMPLING))
    return canvas, ImageDraw.Draw(canvas)


def _plane(canvas: Image.Image, blur: float) -> Plane:
    """Shrink a canvas to the image's size and blur it; `blur` is in 1/64 of the image's side."""
    small = canvas.reduce(SUPERSAMPLING)
    return gaussian_filter(np.asarray(small, np.float32) / 255, blur * small.width / 64)


def _flat(points: Points) -> list[float]:
    return np.column_stack((points.real, points.imag)).ravel().tolist()


def _dot(pen: ImageDraw.ImageDraw, pose: Pose, centre: complex, radius: float, grey: int) -> None:
    x, y = _flat(pose(np.array([centre])))
    pen.circle((x, y), radius * pose.scale, grey)


def _expose(flesh: Plane, bones: Plane, rng: np.random.Generator) -> Plane:
    """Turn flesh and bone into grey values: thin flesh is darker, and films differ in contrast."""
    density = flesh * (0.4 + 0.6 * gaussian_filter(flesh, flesh.shape[0] / 20))
    grey = rng.uniform(0.28, 0.45) * density + rng.uniform(0.36, 0.5) * bones * (
        0.6 + 0.4 * density
    )
    noise = rng.standard_normal(flesh.shape, np.float32) * 0.008
    return rng.uniform(0.01, 0.04) + grey ** rng.uniform(0.85, 1.15) + noise
