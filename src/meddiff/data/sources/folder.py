"""Your own images: a folder (or archive) and a table."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from meddiff.core.errors import MeddiffError
from meddiff.data.readers.archive import open_archive
from meddiff.data.sources.files import (
    MASK_ENDINGS,
    image_names,
    match_paths,
    match_stems,
    with_masks,
)
from meddiff.data.sources.likely import refuse_misnamed
from meddiff.data.sources.tables import (
    check_metadata,
    join,
    map_labels,
    read_strings,
    record_table,
    require_columns,
)


def refuse_missing_paths(paths: Mapping[str, str | Path]) -> None:
    """Refuse paths of the configuration's `data.folder` that lead nowhere, by key."""
    for key, path in paths.items():
        if not Path(path).exists():
            raise MeddiffError(
                f"data.folder.{key}: there is no {Path(path).resolve()}: check the path; relative "
                "ones start at the project's root"
            )


def read_folder(
    folder: str | Path,
    csv: str | Path,
    *,
    id_column: str,
    label_column: str,
    diagnosis_column: str | None = None,
    patient_column: str | None = None,
    lesion_column: str | None = None,
    file_column: str | None = None,
    masks: str | Path | None = None,
    labels: Mapping[str, str] | None = None,
    classes: Sequence[str],
    edition: str = "folder",
) -> pd.DataFrame:
    """Read your own images: a folder (or archive), searched at any depth, and a table.

    An image is `<id>` with any common suffix, or the path in `file_column`; a mask is `<id>.png`,
    `<id>_segmentation.png` or `<id>_mask.png` below `masks`, endings in any case. The id is yours.

    Args:
        folder: where the images are.
        csv: table with a header and one row an image.
        id_column: column with the image's id.
        label_column: column with the class.
        diagnosis_column: column with the diagnosis, if there is one beside the class.
        patient_column: column with the patient, if known.
        lesion_column: column with the lesion, if known.
        file_column: column with the path below `folder`, where it does not follow from the id.
        masks: where the masks are; images may lack one.
        labels: class of each value of the label column that is no class name itself.
        classes: the classes, two or more.
        edition: name of the data set.

    Raises:
        MeddiffError: a column, image or label is missing, repeated or unknown.
    """
    if len(set(classes)) < 2:
        raise MeddiffError(f"{csv} needs two or more classes, not {list(classes)}: name them all")
    metadata = _read_metadata(
        csv, id_column, (label_column, diagnosis_column, patient_column, lesion_column)
    )
    files = _image_names(folder, apart_from=masks)
    keys = metadata[id_column]
    if file_column:
        require_columns(metadata, [file_column], str(csv))
    named = metadata[file_column or id_column]
    refuse_misnamed(named, files, str(csv), str(folder), paths=bool(file_column))
    if file_column:
        members = match_paths(named, files, str(csv), str(folder))
    else:
        members = match_stems(named, files, str(csv), str(folder))
    table = record_table(
        id=keys,
        edition=edition,
        image=keys,
        archive=str(folder),
        member=members,
        label=map_labels(
            metadata,
            label_column,
            {name: name for name in classes} | dict(labels or {}),
            keys,
            str(csv),
        ),
        diagnosis=metadata[diagnosis_column] if diagnosis_column else None,
        patient=metadata[patient_column] if patient_column else None,
        lesion=metadata[lesion_column] if lesion_column else None,
    )
    return join([table if masks is None else with_masks(table, masks)])


def _read_metadata(csv: str | Path, key: str, columns: Iterable[str | None]) -> pd.DataFrame:
    metadata = read_strings(csv, str(csv))
    check_metadata(metadata, key, [column for column in columns if column], str(csv))
    return metadata


def _image_names(folder: str | Path, apart_from: str | Path | None) -> list[str]:
    """List a folder's images; masks that are kept inside it are not among them."""
    with open_archive(folder) as archive:
        names = image_names(archive.names(), folder)
    if apart_from is None:
        return names
    inside = Path(apart_from).resolve()
    if inside == Path(folder).resolve():
        # Side by side, a mask is told by its ending.
        return [n for n in names if not PurePosixPath(n).stem.lower().endswith(MASK_ENDINGS)]
    return [name for name in names if inside not in (Path(folder).resolve() / name).parents]
