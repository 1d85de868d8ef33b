"""Folders of records: one JSON file per recorded file, sealed by a digest of itself.

A job writes records into the run's `.snakemake/meddiff/records/`. Sharing copies them to
`provenance/`, which git carries, bound to the bytes that DVC carries.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from meddiff.core.errors import MeddiffError
from meddiff.core.file_errors import RECORDS
from meddiff.core.files import write_text
from meddiff.workflow.provenance.digests import sha256_here
from meddiff.workflow.provenance.record import Record

LOCAL = RECORDS
SHARED = Path("provenance")
LARGEST = 4 * 2**20
"""Bytes of the largest file that is read as a record."""


def read_effective() -> dict[str, Record]:
    """Return the records of the working directory: local ones, else shared ones.

    The shared record of a file that is here with other bytes is left out.
    """
    records = read_records(LOCAL)
    for path, record in read_records(SHARED).items():
        if path not in records and sha256_here(path) in (None, record.sha256):
            records[path] = record
    return records


def read_records(folder: Path) -> dict[str, Record]:
    """Return the records below a folder by path.

    Raises:
        MeddiffError: a file is no record, or that of another path.
    """
    records = {}
    for file in sorted(folder.rglob("*.json")):
        if file.name.startswith("."):
            continue  # being written, or left by a job that was killed
        record = read_record(file)
        expected = file.relative_to(folder).as_posix().removesuffix(".json")
        if record.path != expected or not is_inside(record.path):
            raise MeddiffError(f"{file}: a record of {record.path!r} does not belong there")
        records[record.path] = record
    return records


def recorded_params(path: str) -> dict[str, Any]:
    """Return the parameters that a file was made with, here or by whoever shared it; or none."""
    for folder in (LOCAL, SHARED):
        if (file := folder / f"{path}.json").is_file():
            return read_record(file).params
    return {}


def recorded_sha256(path: str) -> tuple[str, str] | None:
    """Return the recorded SHA-256 of a file, and the record's path; None without a record.

    Shared records come first: a collaborator must get the same bytes.
    """
    for folder in (SHARED, LOCAL):
        if (file := folder / f"{path}.json").is_file():
            return read_record(file).sha256, str(file)
    return None


def read_record(file: Path) -> Record:
    """Read one record.

    Raises:
        MeddiffError: the file is too large, no JSON, or no record.
    """
    name = printable(str(file))

    def fault(reason: str) -> MeddiffError:
        return MeddiffError(f"{name}: {reason}; get it back with git checkout")

    if not file.is_file():
        raise fault("no file")
    if file.stat().st_size > LARGEST:
        raise fault("too large for a record")
    try:
        data = json.loads(file.read_bytes())
        seal, expected = data.pop("seal", None), _seal(data)
        record = Record.model_validate(data)
        record.model_dump_json()  # what is nested too deep to be written again is refused now
    except ValidationError as error:
        first = error.errors()[0]
        key = printable(".".join(map(str, first["loc"]))) or "file"
        raise fault(f"no valid record ({key}: {first['msg']})") from None
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise fault("no valid record (no JSON object)") from None
    if seal != expected:
        raise MeddiffError(
            f"{name}: changed since it was written, or mixed from two by a merge; take it and its "
            "neighbours whole from one side with git checkout"
        )
    return record


def printable(text: str) -> str:
    """Return text from a record or a file's name so that it cannot forge lines on a terminal."""
    return text if text.isprintable() else repr(text)


def write_record(record: Record, folder: Path) -> None:
    """Write a record below `folder`, named after its path, sealed by a digest of itself."""
    data = json.loads(record.model_dump_json())
    text = json.dumps({**data, "seal": _seal(data)}, indent=1) + "\n"
    write_text(text, folder / f"{record.path}.json", quiet=True)


def _seal(data: Mapping[str, Any]) -> str:
    text = json.dumps(data, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def is_inside(path: str) -> bool:
    """Return whether a path stays below the directory that it starts from."""
    pure = PurePosixPath(path)
    return bool(pure.parts) and not pure.is_absolute() and ".." not in pure.parts
