"""Compare a table that was rebuilt here with the one that was shared."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from meddiff.core.errors import MeddiffError
from meddiff.core.tables import KEYS, read_csv
from meddiff.workflow.provenance.digests import sha256_here
from meddiff.workflow.provenance.lineage import lineage
from meddiff.workflow.provenance.record import Record
from meddiff.workflow.provenance.store import SHARED, read_records
from meddiff.workflow.sharing import remote
from meddiff.workflow.sharing.proof import Proof

TOLERANCE = 1e-4
"""Largest relative difference of a number that other hardware computes from the same nets; measured
ones are in docs/sharing.md."""
NET = ".safetensors"
"""Suffix of a net's weights."""
COUNTS = ("seed", "n_real", "n_synthetic", "n_test", "dimension")


def report_comparison(proof: Proof, origin: str | None) -> Iterator[str]:
    """Yield whether a table is the shared one, and if not, by how much and why it may differ."""
    shared = read_records(SHARED)
    record = shared.get(proof.path)
    if record is None or not Path(proof.path).is_file() or not proof.path.endswith(".csv"):
        return
    if sha256_here(proof.path) == record.sha256:
        yield f"  bit-identical to the one shared by {record.author} ({record.finished})"
        return
    yield f"  differs from the one shared by {record.author} ({record.finished})"
    reasons = dict.fromkeys(
        reason
        for path in lineage(proof.path, shared)
        if path in proof.records
        for reason in _differences(shared[path], proof.records[path])
    )
    for reason in reasons or ["though rule, parameters, versions and machine are the same: a bug"]:
        yield f"    {reason}"
    try:
        table = _shared_table(record, proof, origin)
    except MeddiffError as error:
        yield f"    no comparison of the numbers: {error}"
        return
    differences = compare(table, read_csv(proof.path))
    for row in differences.itertuples():
        yield (
            f"    {row.number}: {row.same} of {row.cells} cells the same; relative difference "
            f"{row.median:.2g} in the median, {row.largest:.2g} at most"
        )
    nets = [path for path in proof.chain if path in shared and Path(path).suffix == NET]
    if any(proof.records[path].sha256 != shared[path].sha256 for path in nets):
        yield "    nets were trained again: differences as between seeds are to be expected"
    else:
        within = "within" if differences["largest"].max() <= TOLERANCE else "NOT within"
        yield f"    from the same nets: {within} the tolerance of {TOLERANCE:g} for other hardware"


def _shared_table(record: Record, proof: Proof, origin: str | None) -> pd.DataFrame:
    """Fetch a shared table beside the one that is here."""
    with tempfile.TemporaryDirectory() as folder:
        list(remote.fetch([record], proof.plan.root, proof.plan.run, origin, Path(folder)))
        return read_csv(Path(folder) / record.path)


def _differences(shared: Record, own: Record) -> Iterator[str]:
    """Yield how the jobs that made one file differ."""
    if shared.params != own.params:
        yield f"{own.rule}: with other parameters or code"
    pairs = {
        name: (shared.packages.get(name), own.packages.get(name))
        for name in sorted(shared.packages | own.packages)
    }
    if shared.machine and own.machine:
        for name, value in shared.machine.model_dump().items():
            pairs[name] = value, getattr(own.machine, name)
    for name, (value, own_value) in pairs.items():
        if value != own_value:
            yield f"{name}: {value} there, {own_value} here"


def compare(shared: pd.DataFrame, own: pd.DataFrame) -> pd.DataFrame:
    """Return by how much the numbers of two tables differ, one row per kind of number.

    Returns:
        Columns number (e.g. "fid value"), cells, same (cells that agree to the last digit), median
        and largest relative difference; a cell that is empty or missing in one of the two differs
        by infinity. Counts that agree everywhere are left out.
    """
    keys = [key for key in KEYS if key in shared and key in own]
    # Rows with equal or no keys are matched by their order.
    shared, own = (
        table.assign(
            row=table.groupby(keys, dropna=False).cumcount() if keys else range(len(table))
        )
        for table in (shared, own)
    )
    keys.append("row")
    both = shared.merge(own, on=keys, suffixes=(" shared", " own"), how="outer")
    kinds = both["metric"] if "metric" in keys else pd.Series("", index=both.index)
    numbers = [str(n) for n in shared.select_dtypes("number") if n in own and n not in keys]
    rows = []
    for kind in sorted(set(kinds)):
        for name in numbers:
            a, b = (both.loc[kinds == kind, f"{name} {side}"] for side in ("shared", "own"))
            relative = _relative(a.to_numpy(float), b.to_numpy(float))
            if len(relative) and (name not in COUNTS or relative.any()):
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
