"""Compare a table that was rebuilt here with the one that was shared."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from meddiff.core.errors import MeddiffError
from meddiff.core.tables import KEYS, read_csv
from meddiff.workflow.provenance.digests import sha256_here
from meddiff.workflow.provenance.record import SHARED, Record, lineage, read_records
from meddiff.workflow.sharing import remote
from meddiff.workflow.sharing.proof import Proof

TOLERANCE = 1e-4
"""Largest relative difference of a number that other hardware computes from the same nets; measured
ones are in docs/sharing.md."""
COUNTED = ("seed", "n_real", "n_synthetic", "n_test", "dimension")


def tell_shared(proof: Proof, origin: str | None) -> Iterator[str]:
    """Tell whether a table is the shared one, and if not, by how much and why it may differ."""
    shared = read_records(SHARED)
    theirs = shared.get(proof.path)
    if theirs is None or not Path(proof.path).is_file() or not proof.path.endswith(".csv"):
        return
    if sha256_here(proof.path) == theirs.sha256:
        yield f"  bit-identical to the one shared by {theirs.author} ({theirs.finished})"
        return
    yield f"  differs from the one shared by {theirs.author} ({theirs.finished})"
    others = {
        path: told
        for path in lineage(proof.path, shared)
        if path in proof.records and (told := list(_setup(shared[path], proof.records[path])))
    }
    for line in dict.fromkeys(line for told in others.values() for line in told):
        yield f"    {line}"
    if not others:
        yield "    though rule, parameters, versions and machine are the same: report this"
    with tempfile.TemporaryDirectory() as folder:
        try:
            list(remote.fetch([theirs], proof.plan.root, proof.plan.run, origin, Path(folder)))
        except MeddiffError as error:
            yield f"    no comparison of the numbers: {error}"
            return
        found = compare(read_csv(Path(folder) / proof.path), read_csv(proof.path))
    for row in found.itertuples():
        yield (
            f"    {row.number}: {row.same} of {row.cells} cells the same; relative difference "
            f"{row.median:.2g} in the median, {row.largest:.2g} at most"
        )
    trained = [path for path, record in shared.items() if (record.rule or "").startswith("train")]
    anew = any(proof.records[p].sha256 != shared[p].sha256 for p in trained if p in proof.chain)
    if anew:
        yield "    nets were trained anew: differences as between seeds are to be expected"
    else:
        within = "within" if found["largest"].max() <= TOLERANCE else "NOT within"
        yield f"    from the same nets: {within} the tolerance of {TOLERANCE:g} for other hardware"


def _setup(theirs: Record, ours: Record) -> Iterator[str]:
    """Tell how two makings of one file differ."""
    if theirs.params != ours.params:
        yield f"{ours.rule}: with other parameters or code"
    for name in sorted(theirs.packages | ours.packages):
        there, here = theirs.packages.get(name), ours.packages.get(name)
        if there != here:
            yield f"{name}: {there} there, {here} here"
    if theirs.machine and ours.machine:
        for name, there in theirs.machine.model_dump().items():
            here = getattr(ours.machine, name)
            if there != here:
                yield f"{name}: {there} there, {here} here"


def compare(theirs: pd.DataFrame, ours: pd.DataFrame) -> pd.DataFrame:
    """Return by how much the numbers of two tables differ, one row a kind of number.

    Args:
        theirs: a table of `meddiff.reporting.tables`.
        ours: the same table, made again.

    Returns:
        Columns number (e.g. "fid value"), cells, same (cells that agree to the last digit), median
        and largest relative difference; a cell that is empty or missing in one of the two differs
        by infinity. Counts that agree everywhere are left out.
    """
    keys = [key for key in KEYS if key in theirs and key in ours]
    # Rows that speak of the same, or of nothing by name, are told apart by their order.
    theirs, ours = (
        table.assign(
            row=table.groupby(keys, dropna=False).cumcount() if keys else range(len(table))
        )
        for table in (theirs, ours)
    )
    keys.append("row")
    both = theirs.merge(ours, on=keys, suffixes=(" theirs", " ours"), how="outer")
    kinds = both["metric"] if "metric" in keys else pd.Series("", index=both.index)
    numbers = [str(n) for n in theirs.select_dtypes("number") if n in ours and n not in keys]
    rows = []
    for kind in sorted(set(kinds)):
        for name in numbers:
            a, b = (both.loc[kinds == kind, f"{name} {side}"] for side in ("theirs", "ours"))
            relative = _relative(a.to_numpy(float), b.to_numpy(float))
            if len(relative) and (name not in COUNTED or relative.any()):
                rows.append(
                    {
                        "number": f"{kind} {name}".strip(),
                        "cells": len(relative),
                        "same": int((relative == 0).sum()),
                        "median": np.median(relative),
                        "largest": relative.max(),
                    }
                )
    return pd.DataFrame(rows, columns=["number", "cells", "same", "median", "largest"])


def _relative(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    filled = ~(np.isnan(a) & np.isnan(b))
    a, b = a[filled], b[filled]
    scale = np.maximum(np.abs(a), np.abs(b))
    relative = np.divide(np.abs(a - b), scale, out=np.zeros(len(a)), where=scale > 0)
    return np.where(np.isnan(a) | np.isnan(b), np.inf, relative)
