"""Columns of tables by their usual names, where the user names none."""

import logging

import pandas as pd

from meddiff.core.errors import MeddiffError
from meddiff.data.settings import FolderSettings

log = logging.getLogger(__name__)

USUAL = {
    "id_column": ("id", "image_id", "isic_id", "image_name", "image", "filename", "file_name"),
    "label_column": ("label", "class", "dx", "diagnosis", "benign_malignant", "target"),
    "patient_column": ("patient_id", "patient", "subject_id", "subject"),
    "lesion_column": ("lesion_id", "lesion"),
    "file_column": ("path", "file", "filename", "file_name"),
}
"""By setting; the first name that a table has, in any case, is taken."""


def with_usual_columns(
    settings: FolderSettings, metadata: pd.DataFrame, where: str, *, always: bool
) -> FolderSettings:
    """Return settings with the usual columns of a table that has not those of the settings.

    Only where no column is set, since a misspelt name is an error.

    Args:
        always: even if the table has the columns `id` and `label`: there is no configuration.
    """
    plain = FolderSettings()
    if any(getattr(settings, key) != getattr(plain, key) for key in USUAL):
        return settings
    if not always and {settings.id_column, settings.label_column} <= set(metadata):
        return settings
    lower = {str(name).lower(): str(name) for name in reversed(list(metadata))}
    chosen = {
        key: next(lower[name] for name in names if name in lower)
        for key, names in USUAL.items()
        if any(name in lower for name in names)
    }
    if "id_column" not in chosen and "file_column" in chosen:
        chosen["id_column"] = chosen["file_column"]
    if "id_column" not in chosen:
        names = dict.fromkeys([*USUAL["id_column"], *USUAL["file_column"]])
        raise MeddiffError(
            f"{where} has no column that names images ({', '.join(names)}); its columns are "
            f"{', '.join(metadata.columns)}: rename the one that does"
            + ("" if always else ", or name it in data.folder.id_column")
        )
    log.info("%s: %s", where, ", ".join(f"{key} {name}" for key, name in chosen.items()))
    return settings.model_copy(update=chosen)
