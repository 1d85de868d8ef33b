"""The study's images: ISIC 2018, 2019 and 2020, cropped and resized to 224 px, from Kaggle."""

import io
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from meddiff.data.readers.archive import open_archive
from meddiff.data.sources.accounting import INVENTED, LESION, NOT_A_PATIENT
from meddiff.data.sources.challenge import TARGETS, describe, edition_records
from meddiff.data.sources.files import is_image, match_stems, only_file
from meddiff.data.sources.tables import check_metadata, join, map_labels, read_strings

INVENTED_IDS = r"dummy[_-]?\d+"
"""What Kaggle's tables put where the archive names no patient: a number for each row."""


def read_kaggle(
    archives: Mapping[str, str | Path], challenge: pd.DataFrame, policy: str
) -> pd.DataFrame:
    """Read the study's Kaggle data sets, one archive or folder per edition.

    Layout: `train-image/image/<isic_id>.jpg` and `train-metadata.csv` (isic_id, patient_id,
    target, and lesion_id if any). The id is `<edition>/<isic_id>`, since an image may be in
    several editions. The tables list images that the archives lack: their records have no `member`.
    Patients that were made up are none, and those of 2018 are in fact HAM10000's lesions.

    Args:
        challenge: table of `read_challenge`; it supplies diagnosis, patient and lesion where
            Kaggle's own metadata lack them.
    """
    published = join(_read_edition(edition, path) for edition, path in archives.items())
    return describe(_without_false_patients(published, challenge), challenge, policy)


def _read_edition(edition: str, path: str | Path) -> pd.DataFrame:
    with open_archive(path) as archive:
        names = archive.names()
        csv = only_file(names, "train-metadata.csv", path)
        where = f"{csv} in {path}"
        metadata = read_strings(io.BytesIO(archive.read(csv)), where)
    check_metadata(metadata, "isic_id", ["target"], where)
    keys = metadata["isic_id"]
    images = [name for name in names if "train-image/image/" in name and is_image(name)]
    return edition_records(
        edition,
        path,
        keys,
        match_stems(keys, images, where, str(path), strict=False),
        target=map_labels(metadata, "target", TARGETS, keys, where),
        patient=metadata.get("patient_id"),
        lesion=metadata.get("lesion_id"),
    )


def _without_false_patients(records: pd.DataFrame, challenge: pd.DataFrame) -> pd.DataFrame:
    """Take out patients that are made up, and move those that are lesions where they belong."""
    patient = records["patient"]
    invented = patient.str.fullmatch(INVENTED_IDS, case=False).fillna(False).astype(bool)
    lesions = patient.isin(set(challenge["lesion"].dropna()))
    notes = pd.Series(pd.NA, records.index, dtype="string")
    return records.assign(
        patient=patient.mask(invented | lesions),
        lesion=records["lesion"].fillna(patient.where(lesions)),
        **{NOT_A_PATIENT: notes.mask(invented, INVENTED).mask(lesions, LESION)},
    )
