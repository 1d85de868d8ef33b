"""NumPy arrays on disk, one file a class."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from meddiff.errors import MeddiffError
from meddiff.files import atomic_write


def save_array(array: np.ndarray, path: str | Path) -> None:
    """Write an array as .npy, whole or not at all."""
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def load_array(path: str | Path) -> np.ndarray:
    """Read an array.

    Raises:
        MeddiffError: the file is truncated or no array.
    """
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise MeddiffError(
            f"{path} is not a whole array ({error}): delete it and run again"
        ) from error


def load_images(path: str | Path) -> np.ndarray:
    """Map an image set, uint8 (N,H,W,C) with one or three channels, read-only.

    Raises:
        MeddiffError: the file is missing, truncated or no image set.
    """
    try:
        images = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise MeddiffError(
            f"{path} is not a whole image array ({error}): delete it and run again"
        ) from error
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise MeddiffError(
            f"{path} is {images.dtype} {images.shape}, not uint8 (n, height, width, 1 or 3): "
            "delete it and run again"
        )
    return images


def load_by_class(paths: Iterable[str | Path], classes: Sequence[str]) -> dict[str, np.ndarray]:
    """Read `<set>/<class>.npy` files; a class in several sets is put together, set after set."""
    files = [Path(path) for path in paths]
    return {
        name: np.concatenate([load_array(file) for file in files if file.stem == name])
        for name in classes
    }
