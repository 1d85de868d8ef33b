"""Quality of the image sets of each class (Table 5.2)."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from meddiff.core.tables import OVER_CLASSES

SYNTHETIC = "synthetic"
ORDER = {SYNTHETIC: 0, "real": 1, "noise": 2}
"""Image sets as they stand in a table."""
COLUMNS = ["class", "image_set", "metric", "extractor", "subset", "value", "std", "ci_low",
           "ci_high", "matched", "matched_ci_low", "matched_ci_high", "score", "score_ci_low",
           "score_ci_high", "n_real", "n_synthetic", "dimension", "reference", "source_file",
           "note"]  # fmt: skip


def image_quality(
    parts: Iterable[pd.DataFrame], reference: str, notes: Mapping[str, str]
) -> pd.DataFrame:
    """Return one row per class, image set, metric and extractor.

    Args:
        parts: rows of `meddiff.evaluation`, with `weights` of the extractor.
        notes: why an extractor has no rows, by name; it gets one with its note and no value.
    """
    table = pd.concat(parts, ignore_index=True)
    table = table.reindex(columns=table.columns.union(["subset"], sort=False))
    table = table.astype({"extractor": object, "subset": object})
    table = table.fillna({"extractor": "", "subset": ""})
    table = table.sort_values(
        ["class", "image_set", "metric", "extractor", "subset"],
        key=lambda column: column.map(ORDER) if column.name == "image_set" else column,
        ignore_index=True,
    )
    table["reference"] = np.where(table["extractor"] != "", reference, "")
    remarks = table.reindex(columns=["note", "weights"]).astype(object).fillna("")
    remarks["weights"] = ("weights: " + remarks["weights"]).where(remarks["weights"] != "", "")
    table["note"] = ["; ".join(filter(None, row)) for row in remarks.itertuples(index=False)]
    missing = [
        {
            "class": name,
            "image_set": SYNTHETIC,
            "metric": "fid",
            "extractor": extractor,
            "note": note,
        }
        for name in sorted(set(table["class"]) - {OVER_CLASSES})
        for extractor, note in notes.items()
        if extractor not in set(table["extractor"])
    ]
    table = pd.concat([table, pd.DataFrame(missing)], ignore_index=True) if missing else table
    return table.reindex(columns=COLUMNS)


def note_imported(table: pd.DataFrame, imported: Mapping[str, str]) -> pd.DataFrame:
    """Say in the notes of what synthetic images take part in that these are not of this run.

    Args:
        table: rows with `n_synthetic` and `note`; if with `image_set`, each of its class alone.
        imported: what of a class was made elsewhere.
    """
    notes = table["note"].astype(object).fillna("")
    for name, what in imported.items():
        concerned = table["n_synthetic"].fillna(0) > 0
        if "image_set" in table:
            own = table["class"].isin([name, OVER_CLASSES])
            concerned = own & (table["image_set"] == SYNTHETIC)
        text = f"{name}: {what}"
        notes = notes.mask(concerned, (notes + "; " + text).str.removeprefix("; "))
    return table.assign(note=notes)
