"""Image sets from folders, archives and arrays of users."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from meddiff.core.errors import MeddiffError
from meddiff.data.image_sets import ImageSet, Listing, list_images
from meddiff.data.readers.depth import Window

log = logging.getLogger(__name__)

MIN_IMAGES = 8
"""Images that a set must have."""


def read_image_set(
    path: str | Path,
    *,
    crop: int | None,
    size: int,
    windows: dict[str, Window] | None = None,
    **choices: Any,
) -> np.ndarray:
    """Return the images of a path, uint8 (n,s,s,C), in the order of `list_images`.

    Args:
        path: what to read, see `list_images`; folders with all that is below them.
        crop: side of the centred square in px of each file, or None for the largest.
        size: side of the result in px; an .npy is taken as it is.
        windows: of images of more than 8 bits, by type of pixels: those of sets that were read
            before apply here, too, and those of this set are added.
        choices: as of `list_images`.

    Raises:
        MeddiffError: there are fewer than 8 images, one cannot be read, those of more than 8
            bits have another range than the windows, or memory is too small for the size.
    """
    listing = list_enough_images(path, **choices)
    return listing.pixels(crop=crop, size=size, windows=windows)


def list_enough_images(path: str | Path, **choices: Any) -> Listing:
    """Return `list_images`, of `MIN_IMAGES` or more images.

    Raises:
        MeddiffError: there are fewer.
    """
    listing = list_images(path, **choices)
    if len(listing.rows) < MIN_IMAGES:
        raise MeddiffError(
            f"{path} has {len(listing.rows)} images: scores need at least {MIN_IMAGES}"
        )
    return listing


def with_same_channels(sets: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return sets (N,H,W,C) with grey ones expanded to three channels if another has three."""
    channels = max(images.shape[-1] for images in sets.values())
    return {
        name: images if images.shape[-1] == channels else images.repeat(channels, axis=-1)
        for name, images in sets.items()
    }


def with_same_classes(sets: Mapping[str, ImageSet]) -> dict[str, ImageSet]:
    """Return sets with their labels if these are the same in all, else without; log why."""
    labels = {name: set(each.labels or ()) for name, each in sets.items()}
    first, *others = labels.values()
    if all(names == first for names in others) and len(first) > 1:
        return dict(sets)
    if all(labels.values()) and set.intersection(*labels.values()):
        shown = "; ".join(f"{name}: {', '.join(sorted(own))}" for name, own in labels.items())
        log.warning("no numbers per class, since the sets have other folders (%s)", shown)
    return {name: replace(each, labels=None) for name, each in sets.items()}
