"""Input checks of metrics of images."""

from hashlib import blake2b
from typing import Literal

import numpy as np
import numpy.typing as npt

from meddiff.core.errors import MeddiffError
from meddiff.core.randomness import stream

Images = npt.NDArray[np.uint8]
Subset = Literal["all", "black_background"]
SMALLEST_WINDOW = 2
"""Px: one pixel has no variance, and any two images would come out alike."""


def checked(metric: object, name: str, images: Images, *, at_least: int) -> Images:
    """Return `at_least` uint8 images (n, h, w) or (n, h, w, c) as (n, h, w, c), without a copy."""
    if getattr(images, "dtype", None) != np.uint8 or images.ndim not in (3, 4) or 0 in images.shape:
        raise MeddiffError(
            f"{metric}: {name} must be a uint8 array of shape (n, h, w) or (n, h, w, c), not "
            f"{getattr(images, 'dtype', type(images).__name__)} {getattr(images, 'shape', '')}"
        )
    if len(images) < at_least:
        raise MeddiffError(f"{metric}: {name} has {len(images)} images, it needs {at_least}")
    return images if images.ndim == 4 else images[..., None]


def places_by_contents(images: Images, seed: int = 0) -> npt.NDArray[np.intp]:
    """Return the places of images (n, ...) in a random order that their pixels and `seed` decide.

    Their names and places do not count, so that the first k are the same images however the set is
    ordered. Equal images can change places.
    """
    key = str(seed).encode()[:64]
    digests = [blake2b(np.ascontiguousarray(image).tobytes(), key=key).digest() for image in images]
    return np.array(sorted(range(len(images)), key=digests.__getitem__), dtype=np.intp)


def random_places(count: int, most: int, *key: int | str) -> npt.NDArray[np.intp]:
    """Return `most` places of `count` at random, or all, in their order; `key` names the stream."""
    return np.sort(stream(*key).permutation(count)[:most])


def check_same_shape(metric: object, images_a: Images, images_b: Images) -> None:
    """Raise MeddiffError if images (n, h, w, c) and (m, h, w, c) differ in h, w or c."""
    if images_a.shape[1:] != images_b.shape[1:]:
        raise MeddiffError(
            f"{metric}: images_a are {images_a.shape[1:]} (height, width, channels), images_b "
            f"{images_b.shape[1:]}: resize them alike"
        )
