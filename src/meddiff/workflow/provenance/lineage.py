"""What a file was made from, along the records of its inputs."""

import json
from pathlib import Path

from meddiff.core.files import write_text
from meddiff.workflow.provenance.record import Record, Records
from meddiff.workflow.provenance.store import read_effective


def write_lineage(path: str | Path, target: str) -> None:
    """Write the records of `target` and of all that it was made from as one JSON file."""
    records = read_effective()
    chain = [records[file].model_dump(exclude={"snakemake"}) for file in lineage(target, records)]
    write_text(json.dumps(chain, indent=1) + "\n", path)


def lineage(path: str, records: Records) -> list[str]:
    """Return the recorded files that `path` was made from, and itself, each after its inputs."""
    order: dict[str, None] = {}
    entered: set[str] = set()
    waiting = [(path, False)]
    while waiting:
        name, expanded = waiting.pop()
        if expanded:
            order[name] = None
        elif name in records and name not in entered:
            entered.add(name)
            waiting.append((name, True))
            waiting += [(file, False) for file in sorted(records[name].inputs, reverse=True)]
    return list(order)


def changed_inputs(record: Record, records: Records) -> list[str]:
    """Return the inputs that are recorded with other bytes than `record` was made from."""
    return [
        file
        for file, sha256 in record.inputs.items()
        if file in records and records[file].sha256 != sha256
    ]
