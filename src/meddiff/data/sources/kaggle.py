"""The study's images: ISIC 2018, 2019 and 2020, cropped and resized to 224 px, from Kaggle."""

import io
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from meddiff.data.readers.archive import open_archive
from meddiff.data.sources.challenge import TARGETS, describe, image_of
from meddiff.data.sources.files import is_image, match_stems, only_file
from meddiff.data.sources.tables import check_metadata, join, map_labels, read_strings, record_table


def read_kaggle(
    archives: Mapping[str, str | Path], challenge: pd.DataFrame, policy: str
) -> pd.DataFrame:
    """Read the study's Kaggle data sets, one archive or folder per edition.

    Layout: `train-image/image/<isic_id>.jpg` and `train-metadata.csv` (isic_id, patient_id,
    target, and lesion_id if any). The id is `<edition>/<isic_id>`, since an image may be in
    several editions.

    Args:
        challenge: table of `read_challenge`; it supplies diagnosis, patient and lesion where
            Kaggle's own metadata lack them.
    """
    published = join(_read_edition(edition, path) for edition, path in archives.items())
    return describe(published, challenge, policy)


def _read_edition(edition: str, path: str | Path) -> pd.DataFrame:
    with open_archive(path) as archive:
        names = archive.names()
        csv = only_file(names, "train-metadata.csv", path)
        where = f"{csv} in {path}"
        metadata = read_strings(io.BytesIO(archive.read(csv)), where)
    check_metadata(metadata, "isic_id", ["target"], where)
    keys = metadata["isic_id"]
    images = [name for name in names if "train-image/image/" in name and is_image(name)]
    return record_table(
        id=f"{edition}/" + keys,
        edition=edition,
        image=image_of(keys),
        archive=str(path),
        member=match_stems(keys, images, where, str(path)),
        target=map_labels(metadata, "target", TARGETS, keys, where),
        patient=metadata.get("patient_id"),
        lesion=metadata.get("lesion_id"),
    )
