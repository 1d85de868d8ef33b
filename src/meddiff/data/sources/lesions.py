"""The images of the ISIC challenge's editions, with the challenge's metadata."""

from collections.abc import Mapping

import pandas as pd

from meddiff.data.sources.challenge import (
    read_challenge,
    read_challenge_images,
    read_official_duplicates,
)
from meddiff.data.sources.kaggle import read_kaggle


def read_lesions(
    editions: Mapping[str, Mapping[str, str]], *, kaggle: bool, policy: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the images of several editions, and the archive's own list of duplicates.

    Args:
        editions: edition to its files by role: `images`, `diagnoses`, `lesions`, `duplicates`; see
            `registry.csv`.
        kaggle: whether the images are Kaggle's, at 224 px, or the archive's own.
        policy: name of a label policy, see `meddiff.data.labels`.

    Returns:
        The table of images (see `meddiff.data.sources`), and the pairs `first` and `second`.

    Raises:
        MeddiffError: a file is not as published, or an image cannot be labelled.
    """
    tables = {
        edition: {role: files[role] for role in ("diagnoses", "lesions") if role in files}
        for edition, files in editions.items()
    }
    lists = [files["duplicates"] for files in editions.values() if "duplicates" in files]
    pairs = [pd.DataFrame(columns=["first", "second"]), *map(read_official_duplicates, lists)]
    read = read_kaggle if kaggle else read_challenge_images
    archives = {edition: files["images"] for edition, files in editions.items()}
    return read(archives, read_challenge(tables), policy), pd.concat(pairs)
