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
from meddiff.workflow.provenance.record import Record, Records, broken_links, lineage
from meddiff.workflow.sharing.plan import Plan, own_differences

CLASSWISE = {"features", "distances", "noise"}
"""Rules that treat each class alone although one job does them all."""
SYNTHETIC = {"synthetic"}
"""The image set that rows of other sets do not need, though one job makes them all; a row of
synthetic images needs the others, since its score stands between them."""


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
            elif unknown := [f for f in record.inputs if not self._is_known(f, record.inputs[f])]:
                found[path] = f"was made from {', '.join(unknown)}, which has no record"
        if not self.chain:
            found[self.path] = "has no record: it was neither made here nor shared"
        return found

    def _is_known(self, path: str, sha256: str) -> bool:
        """Tell whether an input has a record, or is an archive put there by hand and still that."""
        return path in self.records or sha256_here(path, full=True) == sha256

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
                for path in proof.behind(source, _unneeded(row, classes))
            )
        )
        for row in table.fillna("").to_dict("records")
    ]
    return table


def _unneeded(row: dict[Hashable, Any], classes: set[str]) -> set[str]:
    others = classes - {row["class"]} if row.get("class") in classes else set()
    return others | (SYNTHETIC - {row["image_set"]} if "image_set" in row else set())


def select(table: pd.DataFrame, cell: str) -> pd.DataFrame:
    """Return the rows of a table that "column=value,…" names.

    Raises:
        MeddiffError: there is no such column or row.
    """
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
