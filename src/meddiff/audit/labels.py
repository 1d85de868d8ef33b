"""Count diagnoses, and which of them each label policy calls malignant."""

import pandas as pd

from meddiff.data.labels import DIAGNOSES, POLICIES


def labels_table(index: pd.DataFrame) -> pd.DataFrame:
    """Count the images of each edition, diagnosis and class.

    Args:
        index: table with `edition`, `diagnosis` and `label`.

    Returns:
        One row per combination that occurs: `edition`, `diagnosis` ("missing" if there is none),
        `label` in use, `n_images`, and whether each policy of `meddiff.data.labels` calls the
        diagnosis malignant (`<NA>` for a missing one or one of a user's own).
    """
    diagnosis = index["diagnosis"].fillna("missing")
    counts = index.assign(diagnosis=diagnosis).groupby(["edition", "diagnosis", "label"]).size()
    table = counts.rename("n_images").reset_index()
    for name, diagnoses in POLICIES.items():
        malignant = table["diagnosis"].isin(diagnoses).astype("boolean")
        table[f"malignant_by_{name}"] = malignant.where(table["diagnosis"].isin(DIAGNOSES))
    return table
