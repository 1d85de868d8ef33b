"""Formats beyond plain pictures: volumes, films, arrays, files with a patient.

A reader is a module with two functions: `entries` lists the images of a file by its header, with
class and group where the file has them, and `frames` reads some of them. A new one gets a row in
READERS.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import BinaryIO, Protocol, cast

from meddiff.core.errors import MeddiffError
from meddiff.data.readers import arrays, dicom, nifti
from meddiff.data.readers.frames import Entry, Frame, to_bytes
from meddiff.data.readers.settings import Reading


class Reader(Protocol):
    """What a module in READERS has. Errors are MeddiffErrors that begin with the name."""

    def entries(self, file: BinaryIO, name: str, reading: Reading) -> list[Entry]:
        """List the images of a file; none if it has no images."""

    def frames(self, file: BinaryIO, name: str, keys: Sequence[str]) -> Iterator[tuple[str, Frame]]:
        """Yield images by the keys of `entries`, few at a time in memory."""


READERS: Mapping[str, Reader] = {
    ".dcm": cast(Reader, dicom),
    ".dicom": cast(Reader, dicom),
    ".ima": cast(Reader, dicom),
    ".nii": cast(Reader, nifti),
    ".nii.gz": cast(Reader, nifti),
    ".npz": cast(Reader, arrays),
}
"""By the end of a file's name, in any case."""
DICOMDIR = "DICOMDIR"
"""Name of a DICOM file that lists others."""


def reader_of(name: str, start: bytes = b"") -> Reader | None:
    """Return the reader of a file by its name, or of DICOM by how it starts; None for pictures."""
    lower = name.lower()
    reader = next((each for end, each in READERS.items() if lower.endswith(end)), None)
    return cast(Reader, dicom) if reader is None and dicom.is_dicom(start) else reader


def may_be_dicom(name: str) -> bool:
    """Return whether a name without a suffix, or that is a number or UID, may be of DICOM."""
    path = PurePosixPath(name)
    suffix = path.suffix[1:]
    return path.name.upper() != DICOMDIR and (not suffix or suffix.isdigit())


def without_suffix(name: str) -> str:
    """Return a path without what marks its format: `.nii.gz` is one suffix."""
    end = next((end for end in READERS if end.count(".") > 1 and name.lower().endswith(end)), None)
    if end is not None:
        return name[: -len(end)]
    path = PurePosixPath(name)
    return name if path.suffix[1:].isdigit() else path.with_suffix("").as_posix()


def read_frames(
    reader: Reader, file: BinaryIO, name: str, keys: Sequence[str]
) -> Iterator[tuple[str, bytes]]:
    """Yield images of a file as image files in memory, each with its key.

    Raises:
        MeddiffError: the file is damaged, or no longer has one of the images.
    """
    missing = set(keys)
    try:
        for key, frame in reader.frames(file, name, keys):
            missing.discard(key)
            yield key, to_bytes(frame)
    except (IndexError, ValueError) as error:
        raise _gone(name, missing) from error
    if missing:
        raise _gone(name, missing)


def _gone(name: str, keys: set[str]) -> MeddiffError:
    return MeddiffError(f"{name} has no image {min(keys)}: the file changed; index again")
