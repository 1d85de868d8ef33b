"""NumPy's .npz as MedMNIST has it, `<split>_images` and `<split>_labels`, and as ADM, `arr_0`.

Images are read one after the other from the compressed file, so that its size is no matter.
"""

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from meddiff.core.errors import MeddiffError, one_line
from meddiff.data.readers.frames import Entry, Frame, check_pixels
from meddiff.data.readers.settings import Reading

IMAGES, LABELS = "_images", "_labels"
ADM_IMAGES, ADM_LABELS = "arr_0", "arr_1"
MAX_LABELS = 2**27
"""Bytes of the largest array of labels."""
REMEDY = "write it again with numpy.savez, or copy it again in full"


def entries(file: BinaryIO, name: str, reading: Reading) -> list[Entry]:
    """List the images, as `<split>/<number>` or `<number>`, with their labels as text if any.

    Labels of several columns, as of images with several findings, are none.
    """
    with _readable(name), zipfile.ZipFile(file) as archive:
        members = {member.removesuffix(".npy"): member for member in archive.namelist()}
        entries = []
        for array in _image_arrays(list(members), name):
            with archive.open(members[array]) as stream:
                shape, _ = _image_header(stream, f"{array} in {name}")
            own = ADM_LABELS if array == ADM_IMAGES else array.removesuffix(IMAGES) + LABELS
            labels = None
            if own in members and own != array:
                with archive.open(members[own]) as stream:
                    labels = _labels(stream, shape[0], f"{own} in {name}")
            for number in range(shape[0]):
                entries.append(Entry(_key(array, number), labels[number] if labels else None))
    return entries


def frames(file: BinaryIO, name: str, keys: Sequence[str]) -> Iterator[tuple[str, Frame]]:
    """Yield images by key, in the order of the file."""
    wanted: dict[str, list[int]] = {}
    for key in keys:
        split, _, place = key.rpartition("/")
        wanted.setdefault(split + IMAGES if split else "", []).append(int(place))
    with _readable(name), zipfile.ZipFile(file) as archive:
        members = {member.removesuffix(".npy"): member for member in archive.namelist()}
        for array in _image_arrays(list(members), name):
            numbers = wanted.get(array if array.endswith(IMAGES) else "", [])
            with archive.open(members[array]) as stream:
                for number, levels in _rows(stream, sorted(numbers), f"{array} in {name}"):
                    yield _key(array, number), Frame(levels, f"NumPy {levels.dtype}")


def _key(array: str, number: int) -> str:
    return f"{array.removesuffix(IMAGES)}/{number}" if array.endswith(IMAGES) else str(number)


def _image_arrays(names: Sequence[str], name: str) -> list[str]:
    """Return the arrays of images: those named so, else arr_0, else the only one."""
    arrays = [array for array in names if array.endswith(IMAGES)]
    if not arrays:
        arrays = [ADM_IMAGES] if ADM_IMAGES in names else list(names) if len(names) == 1 else []
    if not arrays:
        raise MeddiffError(
            f"{name} has arrays {', '.join(names) or '(none)'}: images are read from those whose "
            f"names end in {IMAGES} (MedMNIST) and from {ADM_IMAGES} (ADM); rename one"
        )
    return arrays


def _header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the header of an .npy: shape, whether it is in Fortran's order, and type."""
    version = np.lib.format.read_magic(stream)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    return read[version](stream)


def _image_header(stream: Any, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read the header of an array of images (n,h,w) or (n,h,w,1 or 3), and check it."""
    shape, by_columns, dtype = _header(stream)
    if dtype.hasobject:
        raise MeddiffError(
            f"{name} holds Python objects, which are pickled code and never read: save it as an "
            "array of numbers"
        )
    channels = shape[3:] or (1,)
    if len(shape) not in (3, 4) or channels[0] not in (1, 3) or dtype.kind not in "biuf":
        raise MeddiffError(
            f"{name} is {dtype} {shape}: images are numbers (n, height, width) or (n, height, "
            "width, 1 or 3); move channels last with transpose, and cut volumes into slices"
        )
    if channels == (3,) and dtype != np.uint8:
        raise MeddiffError(f"{name} holds colours as {dtype}: save them as uint8, 0 to 255")
    if by_columns:
        raise MeddiffError(f"{name} is in Fortran's order: save numpy.ascontiguousarray of it")
    check_pixels(shape[1], shape[2], name)
    return shape, dtype


def _rows(stream: Any, numbers: list[int], name: str) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield some images of an array, by their numbers in rising order."""
    shape, dtype = _image_header(stream, name)
    size = int(np.prod(shape[1:])) * dtype.itemsize
    start = stream.tell()
    for number in numbers:
        stream.seek(start + number * size)
        data = stream.read(size)
        if len(data) < size:
            raise EOFError(f"{name} ends before image {number} of {shape[0]}")
        levels = np.frombuffer(data, dtype).reshape(shape[1:])
        if dtype.kind == "f" and not np.isfinite(levels).all():
            raise MeddiffError(
                f"image {number} of {name} is not finite (NaN or infinite): replace that by a "
                "number, e.g. with numpy.nan_to_num"
            )
        yield number, levels[..., 0] if levels.shape[2:] == (1,) else levels


def _labels(stream: Any, count: int, name: str) -> list[str] | None:
    shape, _, dtype = _header(stream)
    if shape[:1] != (count,) or dtype.hasobject:
        raise MeddiffError(
            f"{name} is {dtype} {shape}, not one label for each of {count} images: save numbers or "
            "text (n,)"
        )
    size = int(np.prod(shape)) * dtype.itemsize
    if shape[1:] not in ((), (1,)) or size > MAX_LABELS:
        return None
    return [str(label) for label in np.frombuffer(stream.read(size), dtype).ravel().tolist()]


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except MeddiffError:
        raise
    except (OSError, EOFError, KeyError, ValueError, SyntaxError, RuntimeError,
            zipfile.BadZipFile, zlib.error) as error:  # fmt: skip
        reason = one_line(error)
        raise MeddiffError(f"{name} is not a whole .npz file ({reason}): {REMEDY}") from error
