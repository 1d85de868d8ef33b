"""Your own images: a folder (or archive), and a table unless its folders are the classes."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from meddiff.core.errors import MeddiffError, listing_error
from meddiff.data.readers.archive import open_archive
from meddiff.data.readers.formats import without_suffix
from meddiff.data.readers.members import list_members
from meddiff.data.settings import FolderSettings
from meddiff.data.sources.accounting import LISTED
from meddiff.data.sources.columns import with_usual_columns
from meddiff.data.sources.files import (
    MASK_ENDINGS,
    Matches,
    image_files,
    is_image,
    match_paths,
    match_stems,
    with_masks,
)
from meddiff.data.sources.suggestions import check_names
from meddiff.data.sources.tables import check_metadata, join, map_labels, read_strings, record_table


def read_folder(
    settings: FolderSettings, classes: Iterable[str], root: Path = Path()
) -> pd.DataFrame:
    """Read your own images: a folder (or archive), searched at any depth, and a table if any.

    With a table an image is `<id>` with any common suffix, or the path in `file_column`; without
    one its class is its file's own, else a folder on its path. A mask is `<id>.png`,
    `<id>_segmentation.png` or `<id>_mask.png` below `masks`, endings in any case.

    Returns:
        One row per image, see `meddiff.data.sources`; `edition` is the name of the data set. Of a
        file with several images each has a row, whose id ends in `#` and its place in the file.
    """
    paths = settings.paths(root)
    for key, path in paths.items():
        if not Path(path).exists():
            raise MeddiffError(
                f"data.folder.{key}: no such file or folder: {Path(path).resolve()}; check the "
                "path (relative ones start at the project's root)"
            )
    return read_records(settings, {name: name for name in classes} | settings.labels, paths)


def read_records(
    settings: FolderSettings, labels: Mapping[str, str] | None, paths: Mapping[str, str]
) -> pd.DataFrame:
    """Read the records of `read_folder`.

    Args:
        labels: class of each label; None: labels are what tables, files or folders say, and other
            columns of the table stay.
        paths: `images`, and `table` and `masks` if there are any.
    """
    folder, masks = paths["images"], paths.get("masks")
    names = _image_names(folder, masks)
    if (csv := paths.get("table") or own_table(folder)) is None:
        table, rest = _by_folders(settings, labels, folder, names), list[str]()
    else:
        table, rest = _by_table(settings, labels, folder, csv, names)
    unlisted = record_table(id=rest, edition=settings.name, archive=folder, member=rest)
    rows = table if masks is None else with_masks(table, masks)
    return join([rows, unlisted])


def own_table(folder: str) -> str | None:
    """Return the table that a data set of a published layout has in its folder: HAM10000's."""
    tables = sorted(path for path in Path(folder).glob("HAM10000_metadata*") if path.is_file())
    return str(tables[0]) if tables else None


def folder_labels(names: Sequence[str]) -> list[str | None]:
    """Return the folder that is each image's class, None for all if one lies at the root.

    It is the first, without folders that all images share if there are several below.
    """
    folders = [PurePosixPath(name).parts[:-1] for name in names]
    while folders and all(len(parts) > 1 for parts in folders) and len({p[0] for p in folders}) < 2:
        folders = [parts[1:] for parts in folders]
    if not all(folders):
        return [None] * len(names)
    return [parts[0] for parts in folders]


def _by_folders(
    settings: FolderSettings, labels: Mapping[str, str] | None, folder: str, names: list[str]
) -> pd.DataFrame:
    """Return the records of images whose folders, or files, say what they are."""
    listed = list_members(folder, names, settings)
    if labels is None:
        ids, own = listed["member"], listed["label"]
        folders = pd.Series(folder_labels(list(listed["file"])), dtype="string")
        label = own.fillna(folders)
    else:
        ids = _ids(listed)
        label = pd.Series(_labels_on_paths(listed, labels, folder), dtype="string")
    return record_table(
        id=ids,
        edition=settings.name,
        image=ids,
        archive=folder,
        member=listed["member"],
        label=label,
        patient=_patients(listed, settings),
    )


def _ids(listed: pd.DataFrame) -> pd.Series:
    """Return paths without suffix, with it where two files differ in nothing else."""
    bare = listed["file"].map(without_suffix)
    n_files = listed["file"].groupby(bare).transform("nunique")
    return bare.where(n_files < 2, listed["file"]) + _keys(listed)


def _by_table(
    settings: FolderSettings,
    labels: Mapping[str, str] | None,
    folder: str,
    csv: str,
    names: list[str],
) -> tuple[pd.DataFrame, list[str]]:
    """Return the records of a table's rows, and the files without a row."""
    metadata = read_strings(csv, csv)
    settings = with_usual_columns(settings, metadata, csv, always=labels is None)
    columns = {
        "diagnosis": settings.diagnosis_column,
        "patient": settings.patient_column,
        "lesion": settings.lesion_column,
    }
    label = settings.label_column if labels is not None else None
    named = filter(None, [*columns.values(), settings.file_column, label])
    check_metadata(metadata, settings.id_column, list(named), csv)
    keys = metadata[settings.id_column]
    match = _match_images if labels is not None else _match_names
    matches = match(metadata, settings, csv, folder, names)
    if labels is None:
        classes = metadata.get(settings.label_column)
    else:
        classes = map_labels(metadata, settings.label_column, labels, keys, csv)
    table = record_table(
        id=keys,
        edition=settings.name,
        image=keys,
        archive=folder,
        member=matches.members,
        label=classes,
        **{name: metadata[column] if column else None for name, column in columns.items()},
    )
    table[LISTED] = pd.Series("yes", table.index, dtype="string")
    if labels is None:
        others = [str(name) for name in metadata if name not in table]
        table = table.join(metadata[others].reset_index(drop=True))
    return _expanded(table, folder, settings), matches.rest


def _expanded(table: pd.DataFrame, folder: str, settings: FolderSettings) -> pd.DataFrame:
    """Replace rows of files with several images by a row of each; add patients of the files."""
    listed = list_members(folder, sorted(table["member"].dropna().unique()), settings)
    listed = listed.assign(patient=_patients(listed, settings), key=_keys(listed))
    places = listed.groupby("file").indices
    parts = [places.get(member, [-1]) for member in table["member"].fillna("")]
    rows = table.loc[table.index.repeat(list(map(len, parts)))].reset_index(drop=True)
    # The last row stands for the images of rows without a file.
    images = pd.concat([listed, pd.DataFrame([{"key": ""}])]).iloc[
        [n for each in parts for n in each]
    ]
    images = images.astype("string").reset_index(drop=True)
    ids = rows["id"] + images["key"]
    patient = rows["patient"].fillna(images["patient"])
    return rows.assign(id=ids, image=ids, member=images["member"], patient=patient)


def _keys(listed: pd.DataFrame) -> pd.Series:
    """Return what an image's id has after its file's: `#` and its place there, or nothing."""
    parts = [m[len(f) :] for m, f in zip(listed["member"], listed["file"], strict=True)]
    return pd.Series(parts, listed.index, dtype="string")


def _patients(listed: pd.DataFrame, settings: FolderSettings) -> pd.Series:
    """Return the patient on the path, else as the file says."""
    if settings.patient_pattern is None:
        return listed["group"]
    matches = [re.search(settings.patient_pattern, name) for name in listed["file"]]
    texts = [match and (match.group(1) if match.re.groups else match.group()) for match in matches]
    return pd.Series(texts, listed.index, dtype="string").fillna(listed["group"])


def _labels_on_paths(listed: pd.DataFrame, labels: Mapping[str, str], folder: str) -> list[str]:
    """Return the class of each image, by its file or else by the one folder that names a class."""
    classes = []
    for name, own in zip(listed["file"], listed["label"], strict=True):
        texts = PurePosixPath(name).parts[:-1] if pd.isna(own) else [own]
        classes.append({labels[text] for text in texts if text in labels})
    only = {*labels.values()}
    if len(only) == 1 and not any(classes):
        classes = [only] * len(classes)
    if wrong := [m for m, names in zip(listed["member"], classes, strict=True) if len(names) != 1]:
        raise listing_error(
            f"{folder}: {len(wrong)} of {len(classes)} images have no class, or several, by their "
            "folders or files",
            wrong,
            f"name folders {', '.join(sorted(only))}, map their names in data.folder.labels, or "
            "name a table in data.folder.table",
        )
    return [next(iter(names)) for names in classes]


def _match_images(
    metadata: pd.DataFrame, settings: FolderSettings, csv: str, folder: str, files: list[str]
) -> Matches:
    """Find the file of each row, by its path or by its id."""
    by_path = settings.file_column is not None
    named = metadata[settings.file_column or settings.id_column]
    strict = not settings.skip_missing
    if strict:
        check_names(named, files, csv, folder, paths=by_path, configured=True)
    match = match_paths if by_path else match_stems
    return match(named, files, csv, folder, strict=strict)


def _match_names(
    metadata: pd.DataFrame, settings: FolderSettings, csv: str, folder: str, files: list[str]
) -> Matches:
    """Find the file of each row, by its path if one row has one, else by its name or its id.

    Rows without an image are left out, which is logged.
    """
    named = metadata[settings.file_column or settings.id_column].fillna("no path")
    paths = named.map(lambda name: PurePosixPath(name.replace("\\", "/")))
    by_path = not {path.as_posix() for path in paths}.isdisjoint(files)
    if not by_path:
        bare = [without_suffix(path.name) if is_image(path.name) else path.name for path in paths]
        named = pd.Series(bare, named.index, dtype="string", name=named.name)
    check_names(named, files, csv, folder, paths=by_path, configured=False)
    match = match_paths if by_path else match_stems
    return match(named, files, csv, folder, strict=False)


def _image_names(folder: str, masks: str | None) -> list[str]:
    """Return the names of a folder's images, without masks that lie inside the folder."""
    with open_archive(folder) as archive:
        names = image_files(archive)
    if masks is None:
        return names
    inside = Path(masks).resolve()
    if inside == Path(folder).resolve():
        # In one folder, only its ending distinguishes a mask.
        return [n for n in names if not PurePosixPath(n).stem.lower().endswith(MASK_ENDINGS)]
    return [name for name in names if inside not in (Path(folder).resolve() / name).parents]
