"""The images of a reader study: those of a run, or two folders."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meddiff.core.arrays import load_images
from meddiff.core.errors import MeddiffError, first_names
from meddiff.data.image_sets import list_images
from meddiff.data.readers.depth import Window
from meddiff.reader_study.design import REAL, SYNTHETIC

OF_ALL = "all"
"""The class of images without classes."""

Images = dict[str, dict[str, NDArray[np.uint8]]]


def images_of_run(run: Path, real_set: str) -> Images:
    """Return the image sets of a run directory, mapped from its files.

    Raises:
        MeddiffError: the run has no such images.
    """
    images: Images = {}
    for name, folder in ((REAL, real_set), (SYNTHETIC, "synthetic")):
        files = sorted((run / "data/images" / folder).glob("*.npy"))
        if not files:
            raise MeddiffError(
                f"{run} has no data/images/{folder}/<class>.npy: give the directory of a finished "
                "run, or a folder of real and one of synthetic images"
            )
        images[name] = {file.stem: load_images(file) for file in files}
    if odd := images[REAL].keys() ^ images[SYNTHETIC].keys():
        raise MeddiffError(f"{first_names(sorted(odd))}: real or synthetic images are missing")
    return images


def images_of_paths(real: Path, synthetic: Path, size: int) -> Images:
    """Return users' images, by class where both have the same folders, at one size in px."""
    windows: dict[str, Window] = {}
    images: Images = {}
    for name, path in ((REAL, real), (SYNTHETIC, synthetic)):
        listing = list_images(path)
        pixels = listing.pixels(crop=None, size=size, windows=windows)
        labels = listing.rows["label"].fillna(OF_ALL).to_numpy(str)
        images[name] = {cls: pixels[labels == cls] for cls in sorted(set(labels))}
    if images[REAL].keys() != images[SYNTHETIC].keys():
        images = {name: {OF_ALL: np.concatenate([*each.values()])} for name, each in images.items()}
    return images


def chosen_classes(images: Images, classes: list[str] | None) -> Images:
    """Return the images of some classes, or of all."""
    if unknown := sorted(set(classes or ()) - images[REAL].keys()):
        raise MeddiffError(f"--class {unknown[0]}: there is {first_names(sorted(images[REAL]))}")
    return {name: {cls: each[cls] for cls in classes or each} for name, each in images.items()}
