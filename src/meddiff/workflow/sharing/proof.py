"""What records prove of a file, and of each cell of a table."""

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from meddiff.core.errors import MeddiffError
from meddiff.core.tables import read_csv
from meddiff.workflow.provenance.digests import sha256_here
from meddiff.workflow.provenance.lineage import changed_inputs, lineage
from meddiff.workflow.provenance.record import Record, Records
from meddiff.workflow.sharing.plan import Plan, own_differences

PER_CLASS = "per_class"
"""Parameter of a rule whose output holds each class alone although its path names none."""
SYNTHETIC = {"synthetic"}
"""The image set that rows of other sets do not need, though one job makes them all; a row of
synthetic images needs the others, since its score stands between them."""


@dataclass(frozen=True)
class Proof:
    """One file, with the records and the files that are here."""

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
        faults = {}
        for path in self.chain:
            record = self.records[path]
            if sha256_here(path, full=True) not in (None, record.sha256):
                faults[path] = "has other bytes than its record says"
            elif changed := changed_inputs(record, self.records):
                faults[path] = f"was made from another {', '.join(changed)}"
            elif missing := [f for f in record.inputs if not self._is_proven(f, record.inputs[f])]:
                faults[path] = f"was made from {', '.join(missing)}, which has no record"
        if not self.chain:
            faults[self.path] = "has no record: it was neither made here nor shared"
        return faults

    def _is_proven(self, path: str, sha256: str) -> bool:
        """Return whether an input has a record, or is a manually added archive, unchanged."""
        return path in self.records or sha256_here(path, full=True) == sha256

    @cached_property
    def changed(self) -> dict[str, list[str]]:
        """Why a rebuild today would make a file again, by file; consequences are left out."""
        changed = {}
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
                changed[path] = reasons
        return changed

    def files_behind(self, source: str, classes: set[str], excluded: set[str]) -> list[str]:
        """Return the files behind a cell: those of `source`, less what only other cells need.

        Args:
            source: the file that holds the cell's numbers.
            classes: all classes of the table.
            excluded: names of classes and image sets that the cell does not depend on.
        """
        records = {
            path: record.model_copy(
                update={
                    "inputs": {
                        file: sha256
                        for file, sha256 in record.inputs.items()
                        if not _is_unused(file, path, record, classes, excluded)
                    }
                }
            )
            for path, record in self.records.items()
        }
        return lineage(source, records)


def _is_unused(file: str, path: str, record: Record, classes: set[str], excluded: set[str]) -> bool:
    """Return whether a job read an input for other outputs, or other rows, than the wanted ones.

    An output that is named after a class needs no input that is named after another one, nor of its
    own class another image set than its own, where that is among the inputs.
    """
    image_set, name = Path(file).parent.name, Path(file).stem
    own_set, own_name = Path(path).parent.name, Path(path).stem
    if own_name in classes:
        pairs = {(Path(each).parent.name, Path(each).stem) for each in record.inputs}
        other_set = (own_set, own_name) in pairs and name == own_name and image_set != own_set
        return name in classes - {own_name} or other_set
    return bool(record.params.get(PER_CLASS)) and bool(excluded & {name, image_set})


def cells_of(proof: Proof) -> pd.DataFrame:
    """Return a table's rows with the files behind each, for tables that name them."""
    if not proof.path.endswith(".csv") or not Path(proof.path).is_file():
        return pd.DataFrame()
    table = read_csv(proof.path)
    if "source_file" not in table:
        return pd.DataFrame()
    classes = set(table.get("class", ())) - {"mean"}
    table["behind"] = [
        list(
            dict.fromkeys(
                path
                for source in filter(None, row["source_file"].split(";"))
                for path in proof.files_behind(source, classes, _excluded(row, classes))
            )
        )
        for row in table.fillna("").to_dict("records")
    ]
    return table


def _excluded(row: dict[Hashable, Any], classes: set[str]) -> set[str]:
    others = classes - {row["class"]} if row.get("class") in classes else set()
    return others | (SYNTHETIC - {row["image_set"]} if "image_set" in row else set())


def select(table: pd.DataFrame, cell: str) -> pd.DataFrame:
    """Return the rows of a table that "column=value,…" names."""
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
