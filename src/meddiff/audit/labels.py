"""Which diagnoses the images have, and what each label policy makes of them."""

import pandas as pd

from meddiff.data.labels import DIAGNOSES, POLICIES


def labels_table(index: pd.DataFrame) -> pd.DataFrame:
    """Count the images of each edition, diagnosis and class.

    Args:
        index: table with `edition`, `diagnosis` and `label`.

    Returns:
        One row for each that occurs: `edition`, `diagnosis` ("not told" where it is not known),
        `label` in use, `n_images`, and whether each policy of `meddiff.data.labels` calls the
        diagnosis malignant (`<NA>` for one that is not known or goes by a name of your own).
    """
    known = index["diagnosis"].fillna("not told")
    counts = index.assign(diagnosis=known).groupby(["edition", "diagnosis", "label"]).size()
    table = counts.rename("n_images").reset_index()
    for name, diagnoses in POLICIES.items():
        malignant = table["diagnosis"].isin(diagnoses).astype("boolean")
        table[f"malignant_by_{name}"] = malignant.where(table["diagnosis"].isin(DIAGNOSES))
    return table
