"""Bring Snakemake's memory in step with the records that git carries, before it plans.

Snakemake decides by a file's time and by metadata in `.snakemake`, neither of which a clone has:
after a plain pull it would train again. Here each file that holds the very bytes of its record gets
that record's time and metadata, and a file that no record speaks for is never taken for a result.
"""

import base64
import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from meddiff.core.errors import MeddiffError
from meddiff.core.files import atomic_write
from meddiff.workflow.provenance.digests import Digest, remember, sha256_here
from meddiff.workflow.provenance.record import (
    LOCAL,
    SHARED,
    Record,
    Records,
    broken_links,
    read_effective,
    read_records,
    write_record,
)

METADATA = Path(".snakemake/metadata")
INCOMPLETE = Path(".snakemake/incomplete")
PLACES = ("data/images", "data/segmentation", "models", "predictions", "features",
          "metrics", "cas", "results")  # fmt: skip
"""Folders that only rules write to; archives in data/raw may also be put there by hand."""
NAME_MAX = 254
"""Characters of a name of Snakemake's metadata; longer ones go on in a folder."""


def adopt() -> dict[str, Record]:
    """Adopt shared files of the working directory and return the shared records.

    A file that is here has a local record: of its making, or the shared one that it came with.
    Snakemake's metadata follow from the records.

    Raises:
        MeddiffError: a file holds other bytes than those that were shared or made here.
    """
    shared, local = read_records(SHARED), read_records(LOCAL)
    edited = [path for path in sorted(shared | local) if not _settle(path, shared, local)]
    if edited:
        raise MeddiffError(_tell_edited(edited, shared))
    _renew_metadata()
    for path in _strangers(shared, local):
        _write_metadata(path, _void("not made by this workflow here"))
    return shared


def _settle(path: str, shared: Records, local: Records) -> bool:
    """Adopt one file if it is the shared one; return whether it is that, made here, or not here."""
    own, theirs = local.get(path), shared.get(path)
    found = None if _is_being_made(path) else sha256_here(path)
    if found is None or (own and found == own.sha256):
        return True
    if theirs and found == theirs.sha256:
        write_record(theirs, LOCAL)
        _set_time(theirs)
        return True
    known = own or theirs
    if known and known.rule is None:
        # An archive that was put there by hand may be put there anew.
        (LOCAL / f"{path}.json").unlink(missing_ok=True)
        return True
    return False


def _set_time(record: Record) -> None:
    """Give a file the time at which its job ended: Snakemake compares the times of files."""
    ended = (record.snakemake or {}).get("endtime")
    if ended is not None and abs(Path(record.path).stat().st_mtime - ended) > 1e-3:
        try:
            os.utime(record.path, (ended, ended))
        except PermissionError:
            raise MeddiffError(
                f"{record.path}: cannot set its time; it must belong to you (copy the project)"
            ) from None
        remember(record.path, Digest(record.sha256, record.md5, record.size))


def _renew_metadata() -> None:
    """Bring what Snakemake keeps of each recorded file in step with its record.

    A file that was made from other bytes than its inputs have now gets metadata that have it
    planned: Snakemake sees that itself only where the inputs are here and newer.
    """
    records = read_effective()
    for path, record in records.items():
        if record.rule is None or _is_being_made(path):
            continue
        broken = broken_links(record, records)
        broken += [file for file in record.inputs if file not in records and _differs(file, record)]
        if broken:
            _keep_metadata(record)
            _write_metadata(path, _void(f"made from another {', '.join(broken)}"))
        elif record.snakemake:
            _write_metadata(path, record.snakemake)
        elif not _keep_metadata(record) and Path(path).is_file():
            _write_metadata(path, _void("Snakemake's metadata of it are lost"))


def keep_metadata() -> None:
    """Put what Snakemake wrote in a run into the records of the files that it made.

    A colleague, who may not read Snakemake's own notes, has them from there. What cannot be kept
    now is kept before the next run.
    """
    with contextlib.suppress(MeddiffError):
        for path, record in read_records(LOCAL).items():
            if not _is_being_made(path):
                _keep_metadata(record)


def _keep_metadata(record: Record) -> bool:
    """Put what Snakemake wrote of a file that was made here into its record, once."""
    told = read_metadata(record.path)
    if record.snakemake is None and told and "endtime" in told:
        write_record(record.model_copy(update={"snakemake": told}), LOCAL)
        return True
    return False


def _differs(file: str, record: Record) -> bool:
    """Tell whether an archive put there by hand is another than the recorded one."""
    return sha256_here(file) not in (None, record.inputs[file])


def _is_being_made(path: str) -> bool:
    """Tell whether a job makes this file now, or was killed at it; Snakemake looks after those."""
    return metadata_file(path, INCOMPLETE).exists()


def _strangers(shared: Records, local: Records) -> Iterator[str]:
    for place in PLACES:
        for file in Path(place).rglob("*"):
            path = file.as_posix()
            known = path in shared or path in local or _is_being_made(path)
            if not known and file.is_file() and not file.name.startswith((".", "README")):
                yield path


def _void(reason: str) -> dict[str, Any]:
    """Metadata whose parameters no rule has, so that Snakemake plans the file and says why."""
    return {"params": [f"<{reason}>"], "record_format_version": 6}


def _tell_edited(edited: list[str], shared: Records) -> str:
    lines = [f"{path} holds other bytes than those that were recorded" for path in edited]
    if theirs := [path for path in edited if path in shared]:
        lines.append(f"`meddiff restore --replace {' '.join(theirs)}` brings shared bytes back")
    if own := [path for path in edited if path not in shared]:
        lines.append(f"move away what is to be made again: {' '.join(own)}")
    return "\n".join(lines)


def metadata_file(path: str, folder: Path = METADATA) -> Path:
    """Return where Snakemake keeps what it knows of a file (its own naming)."""
    name = base64.urlsafe_b64encode(os.fsencode(path)).decode()
    parts = [name[i : i + NAME_MAX] for i in range(0, len(name), NAME_MAX)]
    return folder.joinpath(*[f"@{part}" for part in parts[:-1]], parts[-1])


def read_metadata(path: str) -> dict[str, Any] | None:
    """Return what Snakemake knows of a file; None where that is nothing or unreadable."""
    try:
        told: dict[str, Any] = json.loads(metadata_file(path).read_text())
        return told
    except (OSError, ValueError):
        return None


def _write_metadata(path: str, told: Mapping[str, object]) -> None:
    if read_metadata(path) != told:
        with atomic_write(metadata_file(path), quiet=True) as temporary:
            temporary.write_text(json.dumps(told))
