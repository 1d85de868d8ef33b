"""Image sets from folders, archives and arrays of users."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from meddiff.core.arrays import load_images
from meddiff.core.errors import MeddiffError
from meddiff.core.progress import Progress
from meddiff.data.preprocessing.files import Oddities, Preprocessing, preprocess_files
from meddiff.data.preprocessing.packing import choose_windows_of_files
from meddiff.data.readers.archive import Group, map_groups, open_archive
from meddiff.data.readers.depth import MissingWindowError, Window, Windows
from meddiff.data.sources.files import image_names

MIN_IMAGES = 8
"""Images that a set must have."""


def read_image_set(
    path: str | Path,
    *,
    crop: int | None,
    size: int,
    windows: dict[str, Window] | None = None,
) -> np.ndarray:
    """Return the images of a folder, a zip, a tar or an .npy, uint8 (n,s,s,C), in order of names.

    Args:
        path: what to read; folders with all that is below them.
        crop: side of the centred square in px of each file, or None for the largest.
        size: side of the result in px; an .npy is taken as it is.
        windows: of images of more than 8 bits, by type of pixels: those of sets that were read
            before apply here, too, and those of this set are added.

    Raises:
        MeddiffError: there are fewer than 8 images, one cannot be read, those of more than 8
            bits have another range than the windows, or memory is too small for the size.
    """
    path = Path(path)
    if path.suffix == ".npy":
        images = load_images(path)
    else:
        with open_archive(path) as archive:
            names = image_names(archive.names(), path)
        images = _prepared(path, names, crop, size, {} if windows is None else windows)
    if len(images) < MIN_IMAGES:
        raise MeddiffError(f"{path} has {len(images)} images: scores need at least {MIN_IMAGES}")
    return images


def with_same_channels(sets: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return sets (N,H,W,C) with grey ones expanded to three channels if another has three."""
    channels = max(images.shape[-1] for images in sets.values())
    return {
        name: images if images.shape[-1] == channels else images.repeat(channels, axis=-1)
        for name, images in sets.items()
    }


def _prepared(
    path: Path, names: list[str], crop: int | None, size: int, windows: dict[str, Window]
) -> np.ndarray:
    try:
        return _preprocessed(path, names, crop, size, {})
    except MissingWindowError:
        windows |= choose_windows_of_files(path, names, windows)
        return _preprocessed(path, names, crop, size, windows)


def _preprocessed(
    path: Path, names: list[str], crop: int | None, size: int, windows: Windows
) -> np.ndarray:
    try:
        images = np.empty((len(names), size, size, 3), np.uint8)
    except (MemoryError, ValueError) as error:
        raise MeddiffError(
            f"{path} has {len(names)} images, which at {size} x {size} px need "
            f"{len(names) * size**2 * 3 / 2**30:,.0f} GiB of memory: lower --size"
        ) from error
    oddities = Oddities()

    def prepare(group: Group) -> tuple[list[int], np.ndarray]:
        files = [(data, f"{names[place]} in {path}") for place, data in group]
        return [place for place, _ in group], preprocess_files(
            files, Preprocessing(crop, size), windows=windows, oddities=oddities
        )

    with Progress(len(names), f"read {path}", "image") as progress:
        for places, pixels in map_groups(prepare, [(str(path), name) for name in names]):
            images[places] = pixels
            progress.advance(len(places))
    oddities.log(len(names), size)
    return images
