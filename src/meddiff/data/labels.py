"""Label policies: which diagnoses make an image malignant."""

import logging

import pandas as pd

log = logging.getLogger(__name__)

DIAGNOSES = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")
"""Melanoma, nevus, basal cell carcinoma, actinic keratosis, benign keratosis, dermatofibroma,
vascular lesion, squamous cell carcinoma (ISIC 2019), and unknown."""
POLICIES = {"melanoma": ("MEL",), "malignant": ("MEL", "BCC", "SCC", "AK")}
"""Malignant diagnoses of each policy: `melanoma` is the study's labels, `malignant` its text."""


def label_images(images: pd.DataFrame, policy: str) -> pd.Series:
    """Return "malignant" or "benign" for each image, `<NA>` if the policy cannot decide.

    Args:
        images: strings: `diagnosis`, one of DIAGNOSES or `<NA>`, and `target`, "1" for melanoma,
            "0" for any other diagnosis, or `<NA>`.
    """
    diagnosis, target = images["diagnosis"], images["target"]
    malignant = diagnosis.isin(POLICIES[policy]) | target.eq("1").fillna(False)
    # The archive has benign lesions without a diagnosis: target "0" only excludes melanoma.
    benign = target.eq("0").fillna(False) if policy == "melanoma" else False
    benign |= diagnosis.notna() & ~diagnosis.isin(POLICIES[policy])
    labels = pd.Series(pd.NA, images.index, dtype="string")
    return labels.mask(benign, "benign").mask(malignant, "malignant")


def log_counts(images: pd.DataFrame, policy: str) -> None:
    """Log the images of each diagnosis, and of each class under every policy."""
    counts = images["diagnosis"].fillna("missing").value_counts()
    log.info("diagnoses: %s", ", ".join(f"{count} {name}" for name, count in counts.items()))
    for name, diagnoses in POLICIES.items():
        counts = label_images(images, name).fillna("undecided").value_counts()
        used, texts = ", used" * (name == policy), [f"{n} {label}" for label, n in counts.items()]
        message = "label policy %s (%s)%s: %s"
        log.info(message, name, ", ".join(diagnoses), used, ", ".join(texts))


def labels_table(index: pd.DataFrame) -> pd.DataFrame:
    """Count the images of each `edition`, `diagnosis` and class (`label`).

    Returns:
        One row per combination that occurs: `edition`, `diagnosis` ("missing" if there is none),
        `label` in use, `n_images`, and whether each of POLICIES calls the diagnosis malignant
        (`<NA>` for a missing one or one of a user's own).
    """
    diagnosis = index["diagnosis"].fillna("missing")
    counts = index.assign(diagnosis=diagnosis).groupby(["edition", "diagnosis", "label"]).size()
    table = counts.rename("n_images").reset_index()
    for name, diagnoses in POLICIES.items():
        malignant = table["diagnosis"].isin(diagnoses).astype("boolean")
        table[f"malignant_by_{name}"] = malignant.where(table["diagnosis"].isin(DIAGNOSES))
    return table
