"""Image sets from folders, archives and arrays of users."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from meddiff.core.errors import MeddiffError, first_names
from meddiff.data.listing import Listing, list_images
from meddiff.data.readers.depth import Window
from meddiff.evaluation.compared import check_class_names

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


def with_same_classes(listings: Mapping[str, Listing]) -> dict[str, Listing]:
    """Return sets with their labels if all have the same classes, else without; log why.

    Raises:
        MeddiffError: a class has a name that tables need.
    """
    labels = {name: set(each.rows["label"].dropna()) for name, each in listings.items()}
    first, *others = labels.values()
    if len(first) > 1 and all(names == first for names in others):
        for each in listings.values():
            check_class_names(first, each.path)
        return {name: each.labelled() for name, each in listings.items()}
    shown = {name: first_names(sorted(own)) for name, own in labels.items()}
    beside = {name: _beside_folders(each) for name, each in listings.items() if not labels[name]}
    if any(len(names) > 1 for names in labels.values()) or any(beside.values()):
        texts = [f"{name}: {shown[name] or beside[name] or 'none'}" for name in listings]
        log.warning("no numbers per class, since not all sets have the same (%s)", "; ".join(texts))
    return {name: each.unlabelled() for name, each in listings.items()}


def _beside_folders(listing: Listing) -> str:
    """Say how many images lie beside folders, for which these are no classes."""
    loose = [name for name in listing.rows["id"] if "/" not in name]
    if not 0 < len(loose) < len(listing.rows):
        return ""
    return f"none, with {len(loose)} images beside the folders, as {loose[0]}"
