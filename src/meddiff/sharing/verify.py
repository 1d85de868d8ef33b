"""Prove a table: walk its records back to the raw files, cell by cell."""

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from meddiff.errors import MeddiffError
from meddiff.provenance.digests import sha256_here
from meddiff.provenance.record import (
    SHARED,
    Record,
    Records,
    broken_links,
    lineage,
    printable,
    read_effective,
    read_records,
    this_machine,
)
from meddiff.sharing import remote
from meddiff.sharing.plan import Plan, own_differences
from meddiff.tables import KEYS

CLASSWISE = {"features", "fid", "noise"}
"""Rules that treat each class alone although one job does them all."""
DRAWN = {"synthetic", "noise"}
"""Image sets that one job of `fid` scores side by side; a row needs its own only."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Proof:
    """What the records and the files that are here say of one file."""

    path: str
    plan: Plan
    records: Records

    @cached_property
    def chain(self) -> list[str]:
        """The recorded files behind it, raw ones first, and itself."""
        return lineage(self.path, self.records)

    @cached_property
    def faults(self) -> dict[str, str]:
        """What breaks the proof, by file."""
        found = {}
        for path in self.chain:
            record = self.records[path]
            if sha256_here(path, full=True) not in (None, record.sha256):
                found[path] = "holds other bytes than its record says"
            elif broken := broken_links(record, self.records):
                found[path] = f"was made from another {', '.join(broken)}"
            elif unknown := [f for f in record.inputs if f not in self.records]:
                found[path] = f"was made from {', '.join(unknown)}, which has no record"
        if not self.chain:
            found[self.path] = "has no record: it was neither made here nor shared"
        return found

    @cached_property
    def changed(self) -> dict[str, list[str]]:
        """Why a rebuild today would make a file anew, by file; what only follows is left out."""
        found = {}
        for path in self.chain:
            step = self.plan.producers.get(path)
            if self.records[path].rule is None:
                continue
            reasons = (
                list(own_differences(step, self.records[path]))
                if step
                else [f"no rule makes {path} today"]
            )
            if reasons:
                found[path] = reasons
        return found

    def behind(self, source: str, unneeded: set[str]) -> list[str]:
        """Return the files behind a cell: those of `source`, less what only other cells need.

        Args:
            source: the file that holds the cell's numbers.
            unneeded: names of classes and image sets that the cell does not speak of.
        """
        keep: dict[str, Record] = dict(self.records)
        for path, record in self.records.items():
            if record.rule in CLASSWISE:
                inputs = {
                    file: sha256
                    for file, sha256 in record.inputs.items()
                    if not unneeded & {Path(file).stem, Path(file).parent.name}
                }
                keep[path] = record.model_copy(update={"inputs": inputs})
        return lineage(source, keep)


def verify(plan: Plan, *, cell: str | None, as_json: bool, origin: str | None, say: Say) -> int:
    """Tell what each target was made from, and whether that is proven.

    Args:
        plan: of the working directory.
        cell: "column=value,…" to tell all about the files behind these rows of a table.
        as_json: tell everything as JSON.
        origin: DVC remote to compare with what was shared, or None for the default one.
        say: told the outcome.

    Returns:
        0 if every target is proven, 1 if not.
    """
    records = read_effective()
    proofs = [Proof(path, plan, records) for path in plan.targets]
    if as_json:
        say(json.dumps([_as_json(proof) for proof in proofs], indent=1, default=str))
    else:
        for proof in proofs:
            for line in _tell(proof, cell, origin):
                say(printable(line))
    return int(any(proof.faults for proof in proofs))


def _tell(proof: Proof, cell: str | None, origin: str | None) -> Iterator[str]:
    yield f"{proof.path}: {'NOT PROVEN' if proof.faults else 'proven'}"
    for path, fault in proof.faults.items():
        yield f"  {path} {fault}"
    if not proof.chain:
        return
    record = proof.records[proof.path]
    here = [path for path in proof.chain if Path(path).is_file()]
    yield f"  sha256       {record.sha256}"
    yield f"  made         {record.finished} by {record.author}, commit {record.commit or 'none'}"
    yield f"  source       {record.source}"
    for title, told in _circumstances(proof).items():
        for number, (text, count) in enumerate(told.most_common()):
            yield f"  {title if not number else '':12} {text} ({count} of {len(proof.chain)} files)"
    behind = f"{len(proof.chain) - 1} files; {len(here)} of all are here and were read again"
    yield f"  made from    {behind}"
    for path in proof.chain:
        if not proof.records[path].inputs:
            yield f"    {path}  sha256 {proof.records[path].sha256}  {_making(proof.records[path])}"
    yield from _tell_today(proof)
    yield from _tell_shared(proof, origin)
    yield from _tell_cells(proof, cell)


def _circumstances(proof: Proof) -> dict[str, Counter[str]]:
    """Count who computed the files behind a table, on what, with which versions."""
    found: dict[str, Counter[str]] = {
        name: Counter() for name in ("computed by", "on", "with", "seed")
    }
    for path in proof.chain:
        record = proof.records[path]
        found["computed by"][record.author] += 1
        if record.machine:
            found["on"][_machine(record)] += 1
        if record.packages:
            found["with"][", ".join(f"{k} {v}" for k, v in record.packages.items())] += 1
        if "seed" in record.params:
            found["seed"][str(record.params["seed"])] += 1
    return found


def _machine(record: Record) -> str:
    machine = record.machine
    if machine is None:
        return "an unknown machine"
    on = [machine.system, machine.processor, machine.instructions]
    nets = f"nets on {machine.device}, {machine.threads} threads" if machine.instructions else ""
    return ", ".join(part for part in (*on, nets) if part)


def _making(record: Record) -> str:
    return f"made by rule {record.rule}" if record.rule else "put there by hand"


def _tell_today(proof: Proof) -> Iterator[str]:
    if proof.changed:
        yield "  rebuilt today it would be made anew:"
        for reason, count in Counter(r for rs in proof.changed.values() for r in rs).items():
            yield f"    {reason}" + (f" ({count} files)" if count > 1 else "")
        return
    yield "  rebuilt today it would be made from the same raw files, code, configuration and seed"
    for difference in _environment(proof):
        yield f"    but {difference}: last digits may differ"


def _environment(proof: Proof) -> list[str]:
    """Tell how this machine differs from those that computed the files."""
    here = this_machine(1, "cpu")
    told: dict[str, None] = {}
    for path in proof.chain:
        record = proof.records[path]
        for name, value in record.packages.items():
            if (now := _version(name)) != value:
                told[f"with {name} {now} instead of {value}"] = None
        if record.machine and record.machine.processor != here.processor:
            told[f"on {here.processor} instead of {record.machine.processor}"] = None
    return list(told)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except ImportError:
        return None


def _tell_shared(proof: Proof, origin: str | None) -> Iterator[str]:
    """Compare a table that was rebuilt here with the shared one."""
    shared = read_records(SHARED).get(proof.path)
    if shared is None or not Path(proof.path).is_file() or not proof.path.endswith(".csv"):
        return
    if sha256_here(proof.path) == shared.sha256:
        yield f"  bit-identical to the one shared by {shared.author} ({shared.finished})"
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            list(remote.fetch([shared], proof.plan.root, proof.plan.run, origin, Path(folder)))
        except MeddiffError as error:
            yield f"  differs from the one shared by {shared.author}; no comparison: {error}"
            return
        yield f"  differs from the one shared by {shared.author} ({shared.finished}):"
        yield from compare(pd.read_csv(Path(folder) / proof.path), pd.read_csv(proof.path))


def compare(theirs: pd.DataFrame, ours: pd.DataFrame) -> Iterator[str]:
    """Tell by how much the numbers of two tables differ, one line a kind of number."""
    keys = [key for key in KEYS if key in theirs and key in ours]
    both = theirs.merge(ours, on=keys, suffixes=(" theirs", " ours"), how="outer", indicator=True)
    if (alone := int((both["_merge"] != "both").sum())) > 0:
        yield f"    {alone} rows stand in one of the two only"
    numbers = [n for n in theirs.select_dtypes("number") if n in ours and n not in keys]
    for name in numbers:
        a, b = (both[f"{name} {side}"].to_numpy(float) for side in ("theirs", "ours"))
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.abs(a - b) / np.maximum(np.abs(a), np.abs(b))
        relative = relative[np.isfinite(relative) & (relative > 0)]
        if len(relative):
            yield (
                f"    {name}: {len(relative)} of {len(both)} cells, by {np.median(relative):.2g} "
                f"in the median and {relative.max():.2g} at most (relative)"
            )


def _cells(proof: Proof) -> pd.DataFrame:
    """Return a table's rows with the files behind each, for tables that name them."""
    if not proof.path.endswith(".csv") or not Path(proof.path).is_file():
        return pd.DataFrame()
    table = pd.read_csv(proof.path, keep_default_na=False, na_values=[""])
    if "made_from" not in table:
        return pd.DataFrame()
    classes = set(table.get("class", ())) - {"mean"}
    table["behind"] = [
        proof.behind(row["made_from"], _unneeded(row, classes)) if row["made_from"] else []
        for row in table.fillna("").to_dict("records")
    ]
    return table


def _unneeded(row: dict[Hashable, Any], classes: set[str]) -> set[str]:
    others = classes - {row["class"]} if row.get("class") in classes else set()
    return others | (DRAWN - {row["images"]} if "images" in row else set())


def _tell_cells(proof: Proof, cell: str | None) -> Iterator[str]:
    table = _cells(proof)
    if table.empty:
        return
    shown = _select(table, cell) if cell else table
    columns = [key for key in KEYS if key in table] + ["value" if "value" in table else "accuracy"]
    lines = shown[columns].astype(object).fillna("")
    lines["made from"] = [f"{len(files)} files" for files in shown["behind"]]
    lines["today"] = [_today(proof, [*files, proof.path]) for files in shown["behind"]]
    yield "  cells"
    yield from (f"    {line}" for line in lines.to_string(index=False).splitlines())
    if cell:
        for path in dict.fromkeys(path for files in shown["behind"] for path in files):
            yield from _tell_file(path, proof)


def _today(proof: Proof, files: Sequence[str]) -> str:
    if any(path in proof.faults for path in files):
        return "not proven"
    return "made anew" if any(path in proof.changed for path in files) else "the same"


def _tell_file(path: str, proof: Proof) -> Iterator[str]:
    record = proof.records[path]
    here = "here" if Path(path).is_file() else "not here"
    yield f"  {path}  ({here})"
    yield f"    sha256 {record.sha256}, {record.size} bytes, {_making(record)}"
    yield f"    {record.started} to {record.finished} by {record.author}, commit {record.commit}"
    yield f"    {_machine(record)}"
    for key, value in record.params.items():
        yield f"    {key}: {json.dumps(value)}"
    for file, sha256 in record.inputs.items():
        yield f"    from {file}  sha256 {sha256[:16]}…"
    for reason in proof.changed.get(path, []):
        yield f"    today: {reason}"


def _select(table: pd.DataFrame, cell: str) -> pd.DataFrame:
    for part in cell.split(","):
        column, _, value = part.partition("=")
        if column not in table:
            raise MeddiffError(
                f"--cell {part}: no such column; there are {', '.join(table.columns)}"
            )
        table = table[table[column].astype(str) == value]
    if table.empty:
        raise MeddiffError(f"--cell {cell}: no such row")
    return table


def _as_json(proof: Proof) -> dict[str, Any]:
    table = _cells(proof)
    return {
        "path": proof.path,
        "proven": not proof.faults,
        "faults": proof.faults,
        "changed": proof.changed,
        "files": [proof.records[p].model_dump(exclude={"snakemake"}) for p in proof.chain],
        "cells": json.loads(table.to_json(orient="records")) if len(table) else [],
    }
