"""Readers of the published layouts and of your own folder: one table, one row per image.

Every reader returns strings, missing ones `<NA>`: `id` (unique), `edition`, `image` (the source's
own id, the same in every edition), `archive` and `member` (where the file is), `label`,
`diagnosis`, `patient`, `lesion`, and where there are masks `mask_archive` and `mask_member`. Errors
name the file, up to five rows and the remedy, in one line.
"""

from meddiff.data.sources.challenge import (
    read_challenge,
    read_challenge_images,
    read_isic2016,
    read_official_duplicates,
)
from meddiff.data.sources.folder import read_folder
from meddiff.data.sources.kaggle import read_kaggle
from meddiff.data.sources.mednist import read_mednist_hand
from meddiff.data.sources.published import READERS, read_editions
from meddiff.data.sources.tables import COLUMNS, read_strings, require_classes, warn_ungrouped

__all__ = [
    "COLUMNS",
    "READERS",
    "read_challenge",
    "read_challenge_images",
    "read_editions",
    "read_folder",
    "read_isic2016",
    "read_kaggle",
    "read_mednist_hand",
    "read_official_duplicates",
    "read_strings",
    "require_classes",
    "warn_ungrouped",
]
