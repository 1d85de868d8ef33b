"""NumPy arrays on disk, one file per class."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from meddiff.core.errors import MeddiffError, one_line
from meddiff.core.file_errors import remedy
from meddiff.core.files import atomic_write

LONGEST_HEADER = 10_000
N_INSPECTED = 100
"""Images whose range of levels is inspected to suggest a conversion."""


def save_array(array: np.ndarray, path: str | Path) -> None:
    """Write an array as .npy, whole or not at all."""
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def load_array(path: str | Path) -> np.ndarray:
    """Read an array of any shape and dtype into memory."""
    return np.array(_map(path, "array"))


def load_images(path: str | Path) -> np.ndarray:
    """Map an image set, uint8 (N,H,W,C) with one or three channels, read-only."""
    images = _map(path, "image array")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise MeddiffError(
            f"{path} is {images.dtype} {images.shape}, not uint8 (n, height, width, 1 or 3): "
            f"{remedy(path, _conversion(images))}"
        )
    return images


def _conversion(images: np.ndarray) -> str:
    """Return how to convert an array of images to an image set."""
    steps = []
    if images.ndim == 3:
        steps.append("give it a last axis of one channel with images[..., None]")
    elif images.ndim != 4:
        return "give one array of images (n, height, width, channels)"
    elif images.shape[-1] not in (1, 3) and images.shape[1] in (1, 3):
        steps.append("move the channels last with images.transpose(0, 2, 3, 1)")
    elif images.shape[-1] not in (1, 3):
        steps.append("keep one or three channels")
    if images.dtype == bool:
        steps.append("store it as uint8, x 255")
    elif images.dtype.kind not in "iuf":
        steps.append("store it as uint8")
    elif images.dtype != np.uint8:
        first = images[:N_INSPECTED]
        low, high = (first.min(), first.max()) if first.size else (0, 0)
        if low >= 0 and high <= 1:
            scale = "x 255"
        elif low >= -1 and high <= 1:
            scale = "with [-1, 1] as 0 to 255"
        else:
            scale = "with one range for all images as 0 to 255"
        steps.append(f"its levels are {low:.4g} to {high:.4g}: store it as uint8, {scale}, rounded")
    return "; ".join(steps)


def _map(path: str | Path, kind: str) -> np.ndarray:
    """Map an .npy file; its header is checked against the size of the file."""
    try:
        with Path(path).open("rb") as file:
            start = file.read(12)
        if start[:7] not in (b"\x93NUMPY\x01", b"\x93NUMPY\x02") or len(start) < 12:
            raise ValueError("no .npy file")
        if start[6] == 2 and int.from_bytes(start[8:12], "little") > LONGEST_HEADER:
            raise ValueError("its header is too long")
        return np.lib.format.open_memmap(path, mode="r")
    # NumPy's parser of headers raises SyntaxError, TokenError, OverflowError and others.
    except Exception as error:
        otherwise = "write it again with numpy.save, or copy it again in full"
        raise MeddiffError(
            f"{path} is not a whole {kind} ({one_line(error)}): {remedy(path, otherwise)}"
        ) from error


def load_sets(paths: Iterable[str | Path]) -> np.ndarray:
    """Read image sets of one size, uint8 (N,H,W,C), one after the other."""
    return np.concatenate([load_images(path) for path in paths])


def load_by_class(paths: Iterable[str | Path], classes: Sequence[str]) -> dict[str, np.ndarray]:
    """Read `<set>/<class>.npy` files; a class in several sets is concatenated in their order."""
    files = [Path(path) for path in paths]
    return {
        name: np.concatenate([load_array(file) for file in files if file.stem == name])
        for name in classes
    }


def balanced(classes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Truncate every class to the size of the smallest; rows are in random order already."""
    smallest = min(len(images) for images in classes)
    return [images[:smallest] for images in classes]


def stack(classes: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return images uint8 (N,H,W,C) and labels int64 (N,), the number of the class."""
    labels = np.repeat(np.arange(len(classes)), [len(images) for images in classes])
    return np.concatenate(classes), labels


def load_balanced(paths: Iterable[str | Path]) -> tuple[np.ndarray, np.ndarray]:
    """Read one image set per class, truncated to the smallest; return images and labels."""
    return stack(balanced([load_images(path) for path in paths]))
