"""Carry runs in one file to a machine that has neither their raw archives nor DVC.

A zip holds every image once, in strips of lossless WebP, the other files of the runs, and all
records. What is unpacked has the recorded bytes, so that Snakemake goes on from it.
"""

import hashlib
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import chdir
from functools import lru_cache, partial
from lzma import LZMAError
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZIP_LZMA, ZIP_STORED, BadZipFile, ZipFile

import numpy as np
from PIL import Image

from meddiff.core.arrays import load_images
from meddiff.core.console import Say
from meddiff.core.errors import MeddiffError, one_line
from meddiff.core.files import atomic_write, sha256_file
from meddiff.workflow.provenance.digests import sha256_here
from meddiff.workflow.provenance.record import Record, Records
from meddiff.workflow.provenance.store import LARGEST, LOCAL, is_inside, printable, read_records
from meddiff.workflow.sharing.real_images import RAW
from meddiff.workflow.sharing.restore import aside

IMAGE_SETS = ("data/images/", "data/segmentation/")
ARRAYS = "arrays.json"
SKIPPED = ("data/images/index.csv", "data/images/split.csv", "data/segmentation/index.csv")
"""Tables of all images, which only image sets are made from."""
LONGEST = 16383
"""Largest side of a WebP in px."""
STRIPS_KEPT = 128
"""Decoded strips in memory."""
LARGEST_LIST = 2**26
"""Bytes of the largest list of images that is read."""


def pack(runs: Sequence[Path], target: Path, *, largest: int, say: Say) -> None:
    """Write the files and records of run directories to a zip.

    Args:
        largest: bytes of the largest file that is no image set; larger ones are left out, and made
            again where they are needed.

    Raises:
        MeddiffError: a run has no records, or a file has other bytes than were recorded.
    """
    arrays: dict[str, dict[str, Any]] = {}
    with atomic_write(target) as temporary, ZipFile(temporary, "w", ZIP_LZMA) as archive:
        strips = _Strips(archive)
        for run in runs:
            if not (records := read_records(run / LOCAL)):
                raise MeddiffError(f"{run} holds no files of a run: make its image sets first")
            for path, record in records.items():
                own = f"{LOCAL}/{path}.json"
                archive.write(run / own, f"{run}/{own}")
                left = path.startswith(RAW) or path in SKIPPED
                if left or not (run / path).is_file():
                    continue
                _check_recorded(run, record)
                if path.startswith(IMAGE_SETS) and path.endswith(".npy"):
                    arrays[f"{run}/{path}"] = _pack_images(run / path, strips)
                elif record.size <= largest:
                    archive.write(run / path, f"{run}/{path}")
                else:
                    say(f"left out: {run}/{path}, {record.size / 1e6:.0f} MB")
        strips.flush()
        archive.writestr(ARRAYS, json.dumps(arrays))
    megabytes = target.stat().st_size / 1e6
    say(f"{target}: {megabytes:.1f} MB, {len(strips.places)} images, {len(arrays)} image sets")


def unpack(source: Path, say: Say) -> None:
    """Write the files of a zip of `pack` below the working directory, each as it was recorded.

    Files of other bytes that lie there are set aside.

    Raises:
        MeddiffError: the file is no such zip, or holds other bytes than its records say; nothing
            has changed then.
    """
    try:
        with ZipFile(source) as archive, TemporaryDirectory(dir=".", prefix=".unpack-") as folder:
            runs = _extract_records(archive, Path(folder))
            if not runs:
                raise ValueError("there are no records in it")
            for run, records in runs.items():
                files = _extract_files(archive, run, records, Path(folder))
                _put(Path(folder) / run, Path(run), files, records, say)
                say(f"{run}: {len(files)} files")
    except (BadZipFile, LZMAError, EOFError, KeyError, ValueError, FileNotFoundError) as error:
        reason = one_line(error)
        raise MeddiffError(f"{source} is no whole zip of `meddiff pack` ({reason})") from error


def _check_recorded(run: Path, record: Record) -> None:
    with chdir(run):
        if sha256_here(record.path) != record.sha256:
            raise MeddiffError(f"{run}/{record.path} has other bytes than were recorded")


def _strip_name(shape: Sequence[int], number: int) -> str:
    return f"images/{'x'.join(map(str, shape))}-{number}.webp"


def _strip_length(shape: Sequence[int]) -> int:
    """Return how many images stand in a strip, one above the other."""
    return max(1, LONGEST // shape[0])


class _Strips:
    """Images of each shape, every one once, on their way into a zip.

    Attributes:
        places: number of an image among those of its shape, by digest of both.
    """

    def __init__(self, archive: ZipFile) -> None:
        self.places: dict[bytes, int] = {}
        self._archive = archive
        self._counts: Counter[tuple[int, ...]] = Counter()
        self._waiting: dict[tuple[int, ...], list[np.ndarray]] = {}

    def add(self, image: np.ndarray) -> int:
        """Return an image's number; write a strip when it is full."""
        shape = image.shape
        key = hashlib.sha256(repr(shape).encode() + image.tobytes()).digest()
        if key not in self.places:
            self.places[key] = self._counts[shape]
            self._counts[shape] += 1
            self._waiting.setdefault(shape, []).append(image)
            if len(self._waiting[shape]) == _strip_length(shape):
                self._write(shape)
        return self.places[key]

    def flush(self) -> None:
        """Write the strips that are not full."""
        for shape in list(self._waiting):
            self._write(shape)

    def _write(self, shape: tuple[int, ...]) -> None:
        strip = np.concatenate(self._waiting.pop(shape))
        picture = Image.fromarray(np.broadcast_to(strip, (*strip.shape[:2], 3)))
        file = io.BytesIO()
        picture.save(file, "WEBP", lossless=True, quality=75, method=4)
        number = (self._counts[shape] - 1) // _strip_length(shape)
        self._archive.writestr(_strip_name(shape, number), file.getvalue(), ZIP_STORED)


def _pack_images(path: Path, strips: _Strips) -> dict[str, Any]:
    """Return an array's header, and the numbers of its images."""
    array = load_images(path)
    header = path.read_bytes()[: path.stat().st_size - array.nbytes]
    numbers = [strips.add(image) for image in array]
    return {"header": header.hex(), "shape": array.shape[1:], "images": numbers}


def _extract_records(archive: ZipFile, folder: Path) -> dict[str, Records]:
    """Extract the records of a zip; return them by run."""
    runs: dict[str, None] = {}
    for name in archive.namelist():
        run, marker, path = name.partition(f"/{LOCAL}/")
        if marker:
            if not is_inside(run) or not is_inside(path):
                raise ValueError(f"{printable(name)} lies outside of a run")
            _extract(archive, name, LARGEST, folder / name)
            runs[run] = None
    return {run: read_records(folder / run / LOCAL) for run in runs}


def _extract_files(archive: ZipFile, run: str, records: Records, folder: Path) -> list[str]:
    """Extract a run's files, each with its recorded bytes; return their paths."""
    arrays = json.loads(_read(archive, ARRAYS, LARGEST_LIST))
    strip = lru_cache(STRIPS_KEPT)(partial(_decode, archive))
    members, paths = set(archive.namelist()), []
    for path, record in records.items():
        name = f"{run}/{path}"
        if name in arrays:
            _unpack_images(strip, arrays[name], record, folder / name)
        elif name in members:
            _extract(archive, name, record.size, folder / name)
        else:
            continue
        if sha256_file(folder / name) != record.sha256:
            raise ValueError(f"{printable(name)} has other bytes than its record says")
        paths.append(path)
    return paths


def _unpack_images(
    strip: Callable[[str], np.ndarray], array: Mapping[str, Any], record: Record, target: Path
) -> None:
    """Write an image set from its header and its images."""
    header, shape = bytes.fromhex(array["header"]), tuple(map(int, array["shape"]))
    images = array["images"]
    if len(shape) != 3 or len(header) + len(images) * math.prod(shape) != record.size:
        raise ValueError(f"{printable(record.path)} has another size than its record says")
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        file.write(header)
        for image in images:
            number, place = divmod(int(image), _strip_length(shape))
            rows = slice(place * shape[0], (place + 1) * shape[0])
            pixels = strip(_strip_name(shape, number))[rows, : shape[1], : shape[2]]
            if pixels.shape != shape:
                raise ValueError(f"{printable(record.path)} lacks an image")
            file.write(np.ascontiguousarray(pixels).data)


def _decode(archive: ZipFile, name: str) -> np.ndarray:
    """Return a strip, uint8 (n*H,W,3)."""
    try:
        with Image.open(archive.open(name), formats=["WEBP"]) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, Image.DecompressionBombError) as error:
        raise ValueError(f"{printable(name)} is no picture") from error


def _extract(archive: ZipFile, name: str, most: int, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(_read(archive, name, most))


def _read(archive: ZipFile, name: str, most: int) -> bytes:
    """Read a member of at most so many bytes."""
    if archive.getinfo(name).file_size > most:
        raise ValueError(f"{printable(name)} is larger than it may be")
    return archive.read(name)


def _put(source: Path, run: Path, files: Sequence[str], records: Records, say: Say) -> None:
    """Move files and records into a run directory; what differs there is set aside."""
    run.mkdir(parents=True, exist_ok=True)
    source = source.absolute()
    with chdir(run):
        others = [path for path in files if sha256_here(path) not in (None, records[path].sha256)]
        # The record of a file that was left out must not stand for another that was made here.
        described = [path for path in records if path in files or not Path(path).exists()]
        with aside(others, say):
            for path in (*files, *(f"{LOCAL}/{path}.json" for path in described)):
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                (source / path).replace(path)
