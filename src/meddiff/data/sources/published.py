"""The images of every published source, with its publisher's metadata."""

from collections.abc import Callable, Mapping
from functools import partial

import pandas as pd

from meddiff.data.sources.challenge import (
    read_challenge,
    read_challenge_images,
    read_official_duplicates,
)
from meddiff.data.sources.kaggle import read_kaggle
from meddiff.data.sources.mednist import read_mednist_hand

Versions = Mapping[str, Mapping[str, str]]
"""Version, e.g. an edition of the challenge, to its files by role, as `registry.csv` names both."""
Images = tuple[pd.DataFrame, pd.DataFrame | None]
"""The table of images (see `meddiff.data.sources`), and the publisher's own list of duplicates:
pairs `first` and `second`."""


def read_editions(editions: Versions, policy: str, *, kaggle: bool) -> Images:
    """Read the images of editions of the ISIC challenge.

    Args:
        editions: edition to its files `images`, `diagnoses`, `lesions`, `duplicates`.
        kaggle: whether the images are Kaggle's, at 224 px, or the archive's own.
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


def read_mednist(versions: Versions, policy: str) -> Images:
    """Read the hand radiographs of MedNIST, whose folder is their label."""
    [files] = versions.values()
    return read_mednist_hand(files["images"]), None


SOURCE_READERS: Mapping[str, Callable[[Versions, str], Images]] = {
    "phantom": partial(read_editions, kaggle=True),
    "kaggle": partial(read_editions, kaggle=True),
    "isic": partial(read_editions, kaggle=False),
    "mednist": read_mednist,
    "phantom_hand": read_mednist,
}
"""By `data.source`; takes files and the label policy."""
