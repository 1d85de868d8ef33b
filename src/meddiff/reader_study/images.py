"""The images of a reader study: those of a run, or two folders."""

from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meddiff.audit.encoding_traces import LEAST_SIDE
from meddiff.core.arrays import load_images
from meddiff.core.errors import MeddiffError, first_names
from meddiff.core.tables import read_csv
from meddiff.data.listing import list_images
from meddiff.data.readers.depth import Window
from meddiff.reader_study.design import REAL, SYNTHETIC

OF_ALL = "all"
"""The class of images without classes."""

Images = dict[str, dict[str, NDArray[np.uint8]]]
Names = dict[str, dict[str, list[str]]]
"""Names of images in their order: path below their folder, id, or file with a row of it."""


def images_of_run(run: Path, real_set: str) -> tuple[Images, Names]:
    """Return the image sets of a run directory, mapped from its files, and the images' names.

    Raises:
        MeddiffError: the run has no such images.
    """
    images: Images = {}
    names: Names = {}
    for name, folder in ((REAL, real_set), (SYNTHETIC, "synthetic")):
        files = sorted((run / "data/images" / folder).glob("*.npy"))
        if not files:
            raise MeddiffError(
                f"{run} has no data/images/{folder}/<class>.npy: give the directory of a finished "
                "run, or a folder of real and one of synthetic images"
            )
        images[name] = {file.stem: load_images(file) for file in files}
        names[name] = {file.stem: _names_of(file, len(images[name][file.stem])) for file in files}
    if odd := images[REAL].keys() ^ images[SYNTHETIC].keys():
        raise MeddiffError(f"{first_names(sorted(odd))}: real or synthetic images are missing")
    return images, names


def _names_of(file: Path, count: int) -> list[str]:
    """Return the ids of a packed set's rows; without those, file and row."""
    table = file.with_suffix(".csv")
    if table.is_file() and "id" in (rows := read_csv(table)) and len(rows) == count:
        return rows["id"].tolist()
    return [f"{file.parent.name}/{file.name}#{row}" for row in range(count)]


def images_of_paths(real: Path, synthetic: Path, size: int) -> tuple[Images, Names]:
    """Return users' images and their names, by class where both have the same folders.

    Args:
        size: side of the images in px.

    Raises:
        MeddiffError: an image cannot be read, or the size is too small.
    """
    if size < LEAST_SIDE:
        raise MeddiffError(f"--size {size}: give {LEAST_SIDE} px or more, to check the encoding")
    windows: dict[str, Window] = {}
    images: Images = {}
    names: Names = {}
    for name, path in ((REAL, real), (SYNTHETIC, synthetic)):
        listing = list_images(path)
        pixels = listing.pixels(crop=None, size=size, windows=windows)
        labels = listing.rows["label"].fillna(OF_ALL).to_numpy(str)
        classes, ids = sorted(set(labels)), listing.rows["id"].to_numpy(str)
        images[name] = {cls: pixels[labels == cls] for cls in classes}
        names[name] = {cls: ids[labels == cls].tolist() for cls in classes}
    if images[REAL].keys() != images[SYNTHETIC].keys():
        images = {name: {OF_ALL: np.concatenate([*each.values()])} for name, each in images.items()}
        names = {
            name: {OF_ALL: [*chain.from_iterable(each.values())]} for name, each in names.items()
        }
    return images, names


def chosen_classes(images: Images, classes: list[str] | None) -> Images:
    """Return the images of some classes, or of all."""
    if unknown := sorted(set(classes or ()) - images[REAL].keys()):
        raise MeddiffError(f"--class {unknown[0]}: there is {first_names(sorted(images[REAL]))}")
    return {name: {cls: each[cls] for cls in classes or each} for name, each in images.items()}
