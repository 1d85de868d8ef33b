"""Bring Snakemake's metadata in step with the records that git carries, before it plans.

Snakemake decides by a file's time and by metadata in `.snakemake`, neither of which a clone has:
after a plain pull it would train again. Here each file that has the recorded bytes gets the time
and metadata of its record, and a file without a record is planned.
"""

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from meddiff.core.errors import MeddiffError
from meddiff.workflow.conventions import OUTPUT_FOLDERS
from meddiff.workflow.provenance.digests import Digest, remember, sha256_here
from meddiff.workflow.provenance.lineage import changed_inputs
from meddiff.workflow.provenance.record import Record, Records
from meddiff.workflow.provenance.store import (
    LOCAL,
    SHARED,
    read_effective,
    read_records,
    write_record,
)
from meddiff.workflow.sharing.metadata import MetadataStore


def sync_metadata() -> dict[str, Record]:
    """Bring Snakemake's metadata in step with the records, and return the shared ones.

    A file that is here has a local record: of the job that made it, or the shared one that it came
    with. Snakemake's metadata follow from the records.
    """
    metadata = MetadataStore()
    shared, local = read_records(SHARED), read_records(LOCAL)
    edited = [
        path
        for path in sorted(shared | local)
        if not metadata.is_incomplete(path) and not _reconcile(path, shared, local)
    ]
    if edited:
        raise MeddiffError(_edited_message(edited, shared))
    _sync_recorded(metadata)
    return shared


def plan_unrecorded(rules: Collection[Any]) -> None:
    """Let Snakemake plan each file without a record that one of these rules of it makes.

    Files of other rules are left alone: the workflow may be part of somebody else's.
    """
    metadata = MetadataStore()
    for path in _unrecorded_files(read_records(SHARED).keys() | read_records(LOCAL).keys()):
        made_here = any(rule.is_producer(path) for rule in rules)
        if made_here and not metadata.is_incomplete(path):
            metadata.force_rerun(path, "not made by this workflow here")


def keep_metadata() -> None:
    """Put Snakemake's metadata of the files that a run made into their records.

    A colleague, who may not read Snakemake's own files, has them from there. What cannot be kept
    now is kept before the next run.
    """
    metadata = MetadataStore()
    with contextlib.suppress(MeddiffError):
        for path, record in read_records(LOCAL).items():
            if not metadata.is_incomplete(path):
                _keep_metadata(record, metadata)


def _reconcile(path: str, shared: Records, local: Records) -> bool:
    """Give a file its record; return False where it has other bytes than were recorded."""
    own, other = local.get(path), shared.get(path)
    sha256 = sha256_here(path)
    if sha256 is None or (own and sha256 == own.sha256):
        return True
    if other and sha256 == other.sha256:
        write_record(other, LOCAL)
        _set_time(other)
        return True
    record = own or other
    if record and record.rule is None:
        # An archive that was added by hand may be replaced by hand.
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


def _sync_recorded(metadata: MetadataStore) -> None:
    """Bring Snakemake's metadata of each recorded file in step with its record.

    A file that was made from other bytes than its inputs have now is planned: Snakemake sees that
    itself only where the inputs are here and newer.
    """
    records = read_effective()
    for path, record in records.items():
        if record.rule is None or metadata.is_incomplete(path):
            continue
        changed = changed_inputs(record, records)
        changed += [
            file for file in record.inputs if file not in records and _differs(file, record)
        ]
        if changed:
            _keep_metadata(record, metadata)
            metadata.force_rerun(path, f"made from another {', '.join(changed)}")
        elif record.snakemake:
            metadata.write(path, record.snakemake)
        elif not _keep_metadata(record, metadata) and Path(path).is_file():
            metadata.force_rerun(path, "Snakemake's metadata of it are lost")


def _keep_metadata(record: Record, metadata: MetadataStore) -> bool:
    """Put Snakemake's metadata of a file that was made here into its record, once."""
    written = metadata.read(record.path)
    if record.snakemake is None and written and written.get("endtime") is not None:
        write_record(record.model_copy(update={"snakemake": written}), LOCAL)
        return True
    return False


def _differs(file: str, record: Record) -> bool:
    """Return whether an archive that was added by hand is here with other bytes than recorded."""
    return sha256_here(file) not in (None, record.inputs[file])


def _unrecorded_files(records: Collection[str]) -> Iterator[str]:
    for folder in OUTPUT_FOLDERS:
        for file in Path(folder).rglob("*"):
            path = file.as_posix()
            unrecorded = path not in records and not file.name.startswith((".", "README"))
            # No rule makes a file whose name is no text.
            if unrecorded and path.isprintable() and file.is_file():
                yield path


def _edited_message(edited: list[str], shared: Records) -> str:
    lines = [f"{path} has other bytes than were recorded" for path in edited]
    if others := [path for path in edited if path in shared]:
        lines.append(f"`meddiff restore --replace {' '.join(others)}` brings shared bytes back")
    if own := [path for path in edited if path not in shared]:
        lines.append(f"move away what is to be made again: {' '.join(own)}")
    return "\n".join(lines)
