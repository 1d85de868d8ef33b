"""The records that a job writes of its outputs."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from meddiff.core.errors import MeddiffError, first_names
from meddiff.workflow.provenance.digests import digest, sha256_here
from meddiff.workflow.provenance.environment import author, git_commit, source_digest, this_machine
from meddiff.workflow.provenance.lineage import write_lineage
from meddiff.workflow.provenance.record import Record
from meddiff.workflow.provenance.store import LOCAL, write_record

PACKAGES = ("meddiff", "torch", "torchvision", "monai", "numpy", "scipy", "scikit-learn", "pandas",
            "pillow", "snakemake")  # fmt: skip


def plain_params(params: Any) -> dict[str, Any]:
    """Return a rule's named parameters as JSON can hold them."""
    values: dict[str, Any] = json.loads(json.dumps(dict(params.items()), default=repr))
    return values


def describe_file(path: str, **metadata: Any) -> Record:
    """Return the record of a file as it is now."""
    added: dict[str, Any] = {"rule": None, "inputs": {}, "params": {}, "source": "", "commit": None,
               "packages": {}, "machine": None}  # fmt: skip
    defaults = added | {"author": author(), "started": _now(), "finished": _now()}
    return Record(path=path, **digest(path)._asdict(), **{**defaults, **metadata})


def job_metadata(job: Any, *, threads: int, device: str) -> dict[str, Any]:
    """Return what the records of a job's outputs have in common.

    To be called as the job starts, since the working tree may change while it runs.
    """
    return {
        "rule": job.rule,
        "inputs": {str(file): sha256_here(file) for file in job.input},
        "params": plain_params(job.params),
        "source": source_digest(Path(job.scriptdir) / "../.."),
        "commit": git_commit(),
        "packages": {name: version(name) for name in PACKAGES},
        "machine": this_machine(threads, device),
        "author": author(),
        "started": _now(),
    }


def changed_inputs_error(metadata: Mapping[str, Any]) -> MeddiffError | None:
    """Return an error that names inputs whose bytes changed since a job started, if any have."""
    inputs = metadata.get("inputs", {})
    changed = [path for path, sha256 in inputs.items() if sha256_here(path) != sha256]
    if not changed:
        return None
    return MeddiffError(
        f"{first_names(changed)}: changed while this job read it, whose outputs are not kept; run "
        "the same command again"
    )


def record_outputs(job: Any, metadata: Mapping[str, Any]) -> None:
    """Write the records of a finished job's outputs, and its lineage where it declares `record`.

    Raises:
        MeddiffError: an input has changed since the job started: its record would be wrong.
    """
    if error := changed_inputs_error(metadata):
        raise error
    metadata = {**metadata, "finished": _now()}
    lineage_file = getattr(job.output, "record", None)
    for path in map(str, job.output):
        if path != lineage_file and Path(path).is_file():
            write_record(describe_file(path, **metadata), LOCAL)
    if lineage_file:
        write_lineage(lineage_file, str(job.output[0]))
        write_record(describe_file(lineage_file, **metadata), LOCAL)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
