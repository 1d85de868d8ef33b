"""Write the ISIC challenge's tables for the phantom's images."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from meddiff.core.files import atomic_write
from meddiff.core.randomness import stream
from meddiff.data.phantom.archives import stored_member

BENIGN = {"NV": 0.7, "BKL": 0.12, "BCC": 0.08, "AK": 0.04, "DF": 0.03, "VASC": 0.03}
"""Diagnoses of target 0 and their shares. As in the archive, "not melanoma" includes carcinomas;
all of them are drawn alike."""
NAMES_2020 = {"MEL": "melanoma", "NV": "nevus", "BKL": "seborrheic keratosis"}
"""Names of diagnoses in 2020, where all others are unknown."""


def diagnoses(plan: pd.DataFrame) -> pd.Series:
    """Return the diagnosis of each image of a plan: one per lesion, MEL for target 1."""
    names = [
        "MEL" if target else _draw_diagnosis(seed)
        for target, seed in zip(plan["target"], plan["lesion_seed"], strict=True)
    ]
    return pd.Series(names, plan.index)


def write_challenge_tables(
    edition: str, paths: Mapping[str, str | Path], plan: pd.DataFrame
) -> None:
    """Write one edition's tables as the challenge archive publishes them.

    Args:
        paths: where the tables of the roles `diagnoses`, `lesions` (2018, 2019) and `duplicates`
            (2020) go; see `registry.csv`.
    """
    writers = {"2018": _write_2018, "2019": _write_2019, "2020": _write_2020}
    writers[edition](paths, plan.assign(diagnosis=diagnoses(plan)).sort_values("isic_id"))


def _draw_diagnosis(lesion_seed: int) -> str:
    rng = stream(lesion_seed, "phantom diagnosis")
    return str(rng.choice(list(BENIGN), p=list(BENIGN.values())))


def _write_2018(paths: Mapping[str, str | Path], plan: pd.DataFrame) -> None:
    folder = "ISIC2018_Task3_Training_GroundTruth"
    truth = _one_hot(plan, ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC"])
    text = truth.rename(columns={"AK": "AKIEC"}).to_csv(index=False)
    with atomic_write(paths["diagnoses"]) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr(stored_member(f"{folder}/{folder}.csv"), text)
    columns = {"image": plan["isic_id"], "lesion_id": plan["lesion"]}
    confirmed = {"diagnosis_confirm_type": "single image expert consensus"}
    _write(pd.DataFrame(columns | confirmed), paths["lesions"])


def _write_2019(paths: Mapping[str, str | Path], plan: pd.DataFrame) -> None:
    order = ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"]
    _write(_one_hot(plan, order), paths["diagnoses"])
    blank = dict.fromkeys(["age_approx", "anatom_site_general"], "")
    columns = {"image": plan["isic_id"]} | blank | {"lesion_id": plan["lesion"], "sex": ""}
    _write(pd.DataFrame(columns), paths["lesions"])


def _write_2020(paths: Mapping[str, str | Path], plan: pd.DataFrame) -> None:
    blank = dict.fromkeys(["sex", "age_approx", "anatom_site_general_challenge"], "")
    columns = {
        "image_name": plan["isic_id"],
        "patient_id": plan["patient_id"],
        "lesion_id": plan["lesion"],
        **blank,
        "diagnosis": plan["diagnosis"].map(NAMES_2020).fillna("unknown"),
        "benign_malignant": plan["target"].map({0: "benign", 1: "malignant"}),
        "target": plan["target"],
    }
    _write(pd.DataFrame(columns), paths["diagnoses"])
    listed = plan[plan["kind"] == "near"].iloc[::2]
    pairs = {"image_name_1": listed["duplicate_of"], "image_name_2": listed["isic_id"]}
    _write(pd.DataFrame(pairs), paths["duplicates"])


def _one_hot(plan: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    marks = {name: (plan["diagnosis"] == name).astype(float) for name in names}
    return pd.DataFrame({"image": plan["isic_id"]} | marks)


def _write(table: pd.DataFrame, path: str | Path) -> None:
    with atomic_write(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
