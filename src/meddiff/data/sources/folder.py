"""Your own images: a folder (or archive) and a table."""

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import pandas as pd

from meddiff.core.errors import MeddiffError
from meddiff.data.readers.archive import open_archive
from meddiff.data.settings import FolderSettings
from meddiff.data.sources.accounting import LISTED
from meddiff.data.sources.files import (
    MASK_ENDINGS,
    Matches,
    image_names,
    match_paths,
    match_stems,
    with_masks,
)
from meddiff.data.sources.suggestions import check_names
from meddiff.data.sources.tables import (
    check_metadata,
    join,
    map_labels,
    read_strings,
    record_table,
)


def read_folder(
    settings: FolderSettings, classes: Iterable[str], root: Path = Path()
) -> pd.DataFrame:
    """Read your own images: a folder (or archive), searched at any depth, and a table.

    An image is `<id>` with any common suffix, or the path in `file_column`; a mask is `<id>.png`,
    `<id>_segmentation.png` or `<id>_mask.png` below `masks`, endings in any case.

    Returns:
        One row per image, see `meddiff.data.sources`; `edition` is the name of the data set.
    """
    paths = settings.paths(root)
    _check_paths(paths)
    folder, csv, masks = paths["images"], paths["table"], paths.get("masks")
    metadata = _read_metadata(csv, settings)
    keys = metadata[settings.id_column]
    labels = {name: name for name in classes} | settings.labels
    matches = _match_images(metadata, settings, csv, folder, _image_names(folder, masks))
    table = record_table(
        id=keys,
        edition=settings.name,
        image=keys,
        archive=folder,
        member=matches.members,
        label=map_labels(metadata, settings.label_column, labels, keys, csv),
        **{
            name: metadata[column] if column else None
            for name, column in {
                "diagnosis": settings.diagnosis_column,
                "patient": settings.patient_column,
                "lesion": settings.lesion_column,
            }.items()
        },
    )
    table[LISTED] = pd.Series("yes", table.index, dtype="string")
    unlisted = record_table(
        id=matches.rest, edition=settings.name, archive=folder, member=matches.rest
    )
    rows = table if masks is None else with_masks(table, masks)
    return join([rows, unlisted])


def _check_paths(paths: Mapping[str, str]) -> None:
    for key, path in paths.items():
        if not Path(path).exists():
            raise MeddiffError(
                f"data.folder.{key}: no such file or folder: {Path(path).resolve()}; check the "
                "path (relative ones start at the project's root)"
            )


def _read_metadata(csv: str, settings: FolderSettings) -> pd.DataFrame:
    metadata = read_strings(csv, csv)
    others = (
        *(settings.label_column, settings.diagnosis_column, settings.patient_column),
        *(settings.lesion_column, settings.file_column),
    )
    check_metadata(metadata, settings.id_column, [column for column in others if column], csv)
    return metadata


def _match_images(
    metadata: pd.DataFrame, settings: FolderSettings, csv: str, folder: str, files: list[str]
) -> Matches:
    """Find the file of each row, by its path or by its id."""
    by_path = settings.file_column is not None
    named = metadata[settings.file_column or settings.id_column]
    strict = not settings.skip_missing
    if strict:
        check_names(named, files, csv, folder, paths=by_path)
    match = match_paths if by_path else match_stems
    return match(named, files, csv, folder, strict=strict)


def _image_names(folder: str, masks: str | None) -> list[str]:
    """Return the names of a folder's images, without masks that lie inside the folder."""
    with open_archive(folder) as archive:
        names = image_names(archive.names(), folder)
    if masks is None:
        return names
    inside = Path(masks).resolve()
    if inside == Path(folder).resolve():
        # In one folder, only its ending distinguishes a mask.
        return [n for n in names if not PurePosixPath(n).stem.lower().endswith(MASK_ENDINGS)]
    return [name for name in names if inside not in (Path(folder).resolve() / name).parents]
