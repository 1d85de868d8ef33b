"""Synthetic images that somebody else made, as an image set of this run."""

import logging
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from meddiff.core.errors import MeddiffError, first_names
from meddiff.core.randomness import stream
from meddiff.data.listing import Listing, list_images
from meddiff.data.origins import Origin, Selection
from meddiff.data.preprocessing.files import Preprocessing, preprocess_files
from meddiff.data.readers.depth import Window
from meddiff.data.readers.frames import Frame, to_bytes
from meddiff.data.readers.settings import Reading

log = logging.getLogger(__name__)

LEAST = 2
"""Images that FID, similarity and training need of a class."""


def import_images(
    origin: Origin,
    selection: Selection,
    how: Preprocessing,
    *,
    reading: Reading,
    windows: Mapping[str, Window],
) -> NDArray[np.uint8]:
    """Read images that somebody else made, at the size and with the channels of this run's.

    Args:
        how: size and colour; the largest centred square of each image is taken.
        reading: choices for windows and volumes.
        windows: of real images of more than 8 bits, by type of pixels.

    Returns:
        uint8 (n,size,size,1 or 3), in the order of their names.

    Raises:
        MeddiffError: there are none of the label or too few, or one cannot be read.
    """
    try:
        listing = list_images(origin.path, reading)
        if origin.label is not None:
            listing = _labelled(listing, origin.label)
        places = selected(len(listing.rows), selection, f"{origin.key}: {origin.path}")
        return _read(listing.take(places), how, dict(windows))
    except MeddiffError as error:
        prefix = "" if str(error).startswith(origin.key) else f"{origin.key}: "
        raise MeddiffError(f"{prefix}{error}") from error


def selected(total: int, selection: Selection, name: str) -> NDArray[np.intp]:
    """Return the places of the images that are taken, and log if these are not what was set."""
    first, wanted = selection.first, selection.images
    if total < (wanted if selection.exact else LEAST):
        least = f"sampling.images is {wanted}" if selection.exact else f"{LEAST} are needed"
        remedy = ", or lower sampling.images" if selection.exact else ""
        raise MeddiffError(f"{name} has {total} images of the class, {least}: add some{remedy}")
    if total < wanted:
        key = "cas.dose.max_synthetic_per_class" if first else "sampling.images"
        log.warning("%s has %d images of the class, %s is %d", name, total, key, wanted)
    if total <= wanted and not first:
        return np.arange(total)
    if total > wanted:
        log.info("%s: %d of %d images are taken, at random", name, wanted - first, total)
    order = stream(selection.seed, "imported images").permutation(total)
    return np.sort(order[first:wanted])


def _labelled(listing: Listing, label: str) -> Listing:
    labels = listing.rows["label"]
    places = np.flatnonzero((labels == label).fillna(False).to_numpy(bool))
    if not len(places):
        others = first_names(sorted(labels.dropna().unique())) or "none"
        raise MeddiffError(
            f"{listing.path} has no images of class {label} (its folders or labels: {others}): "
            "name a folder so, or give a path per class"
        )
    return listing.take(places)


def _read(listing: Listing, how: Preprocessing, windows: dict[str, Window]) -> NDArray[np.uint8]:
    images = listing.pixels(crop=None, size=how.size, grey=how.grey, windows=windows)
    shape = (how.size, how.size, 1 if how.grey else 3)
    if images.shape[1:] != shape:  # of an .npy, which is read as it is
        names = [f"{member} in {listing.path}" for member in listing.rows["member"]]
        frames = (
            Frame(image if image.shape[2] == 3 else image[..., 0], "NumPy") for image in images
        )
        images = preprocess_files(zip(map(to_bytes, frames), names, strict=True), how)
    return np.ascontiguousarray(images)
