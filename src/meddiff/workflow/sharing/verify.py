"""Prove a table: follow its records back to the raw files, per cell."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from meddiff.core.console import Say
from meddiff.core.devices import choose_device
from meddiff.core.errors import MeddiffError
from meddiff.core.settings import ComputeSettings
from meddiff.core.tables import KEYS
from meddiff.workflow.provenance.environment import this_machine
from meddiff.workflow.provenance.record import Record
from meddiff.workflow.provenance.store import printable, read_effective
from meddiff.workflow.sharing.compare import report_comparison
from meddiff.workflow.sharing.plan import Plan
from meddiff.workflow.sharing.proof import Proof, cells_of, select

TORCH_ONLY = {"instructions", "device", "threads"}
"""Fields of a machine that concern only jobs that compute with torch."""


def verify(plan: Plan, *, cell: str | None, as_json: bool, origin: str | None, say: Say) -> int:
    """Print what each target was made from; return 0 if all are proven, else 1.

    All about the files behind rows of a table is printed for `cell`, "column=value,…".
    """
    records = read_effective()
    proofs = [Proof(path, plan, records) for path in plan.targets]
    if as_json:
        say(json.dumps([_as_json(proof) for proof in proofs], indent=1, default=str))
    else:
        for proof in proofs:
            for line in _report(proof, cell, origin):
                say(printable(line))
    return int(any(proof.faults for proof in proofs))


def _report(proof: Proof, cell: str | None, origin: str | None) -> Iterator[str]:
    proven = "proven" if Path(proof.path).is_file() else "not here; proven by its records alone"
    yield f"{proof.path}: {'NOT PROVEN' if proof.faults else proven}"
    for path, fault in proof.faults.items():
        yield f"  {path} {fault}"
    if not proof.chain:
        return
    record = proof.records[proof.path]
    here = [path for path in proof.chain if Path(path).is_file()]
    yield f"  sha256       {record.sha256}"
    yield f"  made         {record.finished} by {record.author}, commit {record.commit or 'none'}"
    yield f"  source       {record.source}"
    for title, counts in _conditions(proof).items():
        for number, (text, count) in enumerate(counts.most_common()):
            yield f"  {title if not number else '':12} {text} ({count} of {len(proof.chain)} files)"
    behind = f"{len(proof.chain) - 1} files; {len(here)} of all are here and were read again"
    yield f"  made from    {behind}"
    for path in proof.chain:
        if not proof.records[path].inputs:
            yield f"    {path}  sha256 {proof.records[path].sha256}  {_origin(proof.records[path])}"
    yield from _report_rebuild(proof)
    yield from report_comparison(proof, origin)
    yield from _report_cells(proof, cell)


def _conditions(proof: Proof) -> dict[str, Counter[str]]:
    """Count who computed the files behind a table, on what, with which versions."""
    counts: dict[str, Counter[str]] = {
        name: Counter() for name in ("computed by", "on", "with", "seed")
    }
    for path in proof.chain:
        record = proof.records[path]
        counts["computed by"][record.author] += 1
        if record.machine:
            counts["on"][_machine(record)] += 1
        if record.packages:
            counts["with"][", ".join(f"{k} {v}" for k, v in record.packages.items())] += 1
        if "seed" in record.params:
            counts["seed"][str(record.params["seed"])] += 1
    return counts


def _machine(record: Record) -> str:
    machine = record.machine
    if machine is None:
        return "an unknown machine"
    system = [machine.system, machine.processor, machine.instructions]
    threads = f"{machine.threads} thread{'s' * (machine.threads != 1)}"
    nets = f"nets on {machine.device}, {threads}" if machine.instructions else ""
    return ", ".join(part for part in (*system, nets) if part)


def _origin(record: Record) -> str:
    return f"made by rule {record.rule}" if record.rule else "added by hand"


def _report_rebuild(proof: Proof) -> Iterator[str]:
    if proof.changed:
        yield "  a rebuild today would make it again:"
        for reason, count in Counter(r for rs in proof.changed.values() for r in rs).items():
            yield f"    {reason}" + (f" ({count} files)" if count > 1 else "")
        return
    yield "  a rebuild today would use the same raw files, code, configuration and seed"
    for difference in _environment(proof):
        yield f"    but {difference}: last digits may differ"


def _environment(proof: Proof) -> list[str]:
    """Return how a rebuild here would differ from the conditions in which files were computed."""
    import torch  # noqa: F401 - so that the machine's description includes it

    compute = ComputeSettings.model_validate(proof.plan.config.get("compute", {}))
    on_cpu = this_machine(compute.threads, "cpu")
    on_gpu = this_machine(compute.threads, choose_device(compute.device))
    differences: dict[str, None] = {}
    for path in proof.chain:
        record = proof.records[path]
        for name, value in record.packages.items():
            if (installed := _version(name)) != value:
                differences[f"with {name} {installed} instead of {value}"] = None
        if record.machine:
            step = proof.plan.producers.get(path)
            here = on_gpu if step and step.gpu else on_cpu
            nets = record.machine.instructions != ""
            for name, value in record.machine.model_dump().items():
                if getattr(here, name) != value and (nets or name not in TORCH_ONLY):
                    differences[f"on {name} {getattr(here, name)} instead of {value}"] = None
    return list(differences)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except ImportError:
        return None


def _report_cells(proof: Proof, cell: str | None) -> Iterator[str]:
    table = cells_of(proof)
    if table.empty and cell:
        raise MeddiffError(f"--cell: {proof.path} is not here or names no files for its rows")
    if table.empty:
        return
    shown = select(table, cell) if cell else table
    columns = [key for key in KEYS if key in table] + ["value" if "value" in table else "accuracy"]
    lines = shown[columns].astype(object).fillna("")
    lines["made from"] = [f"{len(files)} files" for files in shown["behind"]]
    lines["today"] = [_today(proof, [*files, proof.path]) for files in shown["behind"]]
    yield "  cells"
    yield from (f"    {line}" for line in lines.to_string(index=False).splitlines())
    if cell:
        for path in dict.fromkeys(path for files in shown["behind"] for path in files):
            yield from _report_file(path, proof)


def _today(proof: Proof, files: Sequence[str]) -> str:
    if any(path in proof.faults for path in files):
        return "not proven"
    return "made again" if any(path in proof.changed for path in files) else "the same"


def _report_file(path: str, proof: Proof) -> Iterator[str]:
    record = proof.records[path]
    here = "here" if Path(path).is_file() else "not here"
    yield f"  {path}  ({here})"
    yield f"    sha256 {record.sha256}, {record.size} bytes, {_origin(record)}"
    yield f"    {record.started} to {record.finished} by {record.author}, commit {record.commit}"
    yield f"    {_machine(record)}"
    for key, value in record.params.items():
        yield f"    {key}: {json.dumps(value)}"
    for file, sha256 in record.inputs.items():
        yield f"    from {file}  sha256 {sha256[:16]}…"
    for reason in proof.changed.get(path, []):
        yield f"    today: {reason}"


def _as_json(proof: Proof) -> dict[str, Any]:
    table = cells_of(proof)
    return {
        "path": proof.path,
        "proven": not proof.faults,
        "faults": proof.faults,
        "changed": proof.changed,
        "files": [proof.records[p].model_dump(exclude={"snakemake"}) for p in proof.chain],
        "cells": json.loads(table.to_json(orient="records")) if len(table) else [],
    }
