"""Readers of the published layouts and of your own folder: one table, one row an image.

Every reader returns strings, missing ones `<NA>`: `id` (unique), `edition`, `archive` and `member`
(where the file is), `label`, `patient`, `lesion`, and where there are masks `mask_archive` and
`mask_member`. Every complaint names the file, up to five rows and the remedy, in one line.
"""

import io
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from meddiff.data.archive import open_archive
from meddiff.errors import MeddiffError

log = logging.getLogger(__name__)

COLUMNS = ("id", "edition", "archive", "member", "label", "patient", "lesion")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".jp2")
MASK_ENDINGS = ("", "_Segmentation", "_mask")
TARGETS = ("benign", "malignant")
"""Labels of Kaggle's target 0 and 1."""
SHOWN = 5


def read_kaggle(
    archives: Mapping[str, str | Path],
) -> pd.DataFrame:
    """Read the study's Kaggle data sets, one archive or folder an edition.

    Layout: `train-image/image/<isic_id>.jpg` and `train-metadata.csv` (isic_id, patient_id,
    target, and lesion_id if known). The id is `<edition>/<isic_id>`, since an image may be in
    several editions.

    Args:
        archives: edition (e.g. "2019") to path.

    Raises:
        MeddiffError: metadata or images are missing, repeated or unknown.
    """
    return _join(_read_kaggle_edition(edition, path) for edition, path in archives.items())


def read_isic2016(
    train_images: str | Path,
    train_masks: str | Path,
    test_images: str | Path,
    test_masks: str | Path,
) -> pd.DataFrame:
    """Read the ISIC 2016 challenge, Part 1: lesions with masks, and its official `split`.

    Layout: `<top>/<isic_id>.jpg` and `<top>/<isic_id>_Segmentation.png`. Edition "2016", label
    "lesion", `split` train or test, id `2016/<isic_id>`.

    Raises:
        MeddiffError: no images, an image without its mask, or one in both splits.
    """
    train = _read_isic2016_split("train", train_images, train_masks)
    test = _read_isic2016_split("test", test_images, test_masks)
    if both := sorted(set(train["id"]) & set(test["id"])):
        raise several(
            f"{len(both)} images are in {train_images} and in {test_images}",
            both,
            "use the archives of the two splits as published",
        )
    return _join([train, test])


def read_mednist_hand(archive: str | Path) -> pd.DataFrame:
    """Read the hand radiographs of MedNIST: `MedNIST/Hand/*.jpeg`, sorted by name, label "hand".

    Raises:
        MeddiffError: the archive holds no such file.
    """
    with open_archive(archive) as opened:
        found = _by_stem(name for name in opened.names() if _is_hand(PurePosixPath(name)))
    if not found:
        raise MeddiffError(f"{archive} holds no MedNIST/Hand/*.jpeg: use the published archive")
    _refuse_several(found, found.values(), str(archive))
    ids = [f"mednist/{stem}" for stem in found]
    members = [files[0] for files in found.values()]
    return _join(
        [_table(id=ids, edition="mednist", archive=str(archive), member=members, label="hand")]
    )


def read_folder(
    folder: str | Path,
    csv: str | Path,
    *,
    id_column: str,
    label_column: str,
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
    `<id>_Segmentation.png` or `<id>_mask.png` below `masks`. The id is yours.

    Args:
        folder: where the images are.
        csv: table with a header and one row an image.
        id_column: column with the image's id.
        label_column: column with the class.
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
    metadata = _read_metadata(csv, id_column, (label_column, patient_column, lesion_column))
    files = _image_names(folder, apart_from=masks)
    keys = metadata[id_column]
    if file_column:
        _require_columns(metadata, [file_column], str(csv))
        members = _match_paths(metadata[file_column], files, str(csv), str(folder))
    else:
        members = _match_stems(keys, files, str(csv), str(folder))
    table = _table(
        id=keys,
        edition=edition,
        archive=str(folder),
        member=members,
        label=_labels(
            metadata,
            label_column,
            {name: name for name in classes} | dict(labels or {}),
            keys,
            str(csv),
        ),
        patient=metadata[patient_column] if patient_column else None,
        lesion=metadata[lesion_column] if lesion_column else None,
    )
    return _join([table if masks is None else _with_masks(table, masks)])


def read_strings(source: str | Path | io.BytesIO, name: str) -> pd.DataFrame:
    """Read a CSV as strings, empty fields as `<NA>`; the index holds line numbers of the file.

    Raises:
        MeddiffError: the file is missing, empty, not UTF-8 or not a table.
    """
    try:
        table = pd.read_csv(
            source,
            dtype="string",
            keep_default_na=False,
            na_values=[""],
            skip_blank_lines=False,
            encoding="utf-8-sig",
        )
        if not isinstance(table.index, pd.RangeIndex):
            raise ValueError("rows have more fields than the header")
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise MeddiffError(
            f"cannot read the table {name} ({reason}): it must be a CSV in UTF-8 with a header"
        ) from error
    table.index += 2
    table = table.apply(lambda column: column.str.strip().replace("", pd.NA))
    return table.dropna(how="all")


def warn_of_strangers(records: pd.DataFrame) -> None:
    """Log how many images name neither a patient nor a lesion, as no split can keep them apart."""
    strangers = (records["patient"].isna() & records["lesion"].isna()).sum()
    if strangers:
        log.warning(
            "%d of %d images name neither a patient nor a lesion: only duplicates of them are kept "
            "in one split",
            strangers,
            len(records),
        )


def several(problem: str, items: Sequence[str], remedy: str) -> MeddiffError:
    """Return the error for many faults of a kind: the first few by name, and how many there are."""
    shown = ", ".join(items[:SHOWN])
    total = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return MeddiffError(f"{problem}: {shown}{total}; {remedy}")


def _read_kaggle_edition(edition: str, path: str | Path) -> pd.DataFrame:
    with open_archive(path) as archive:
        names = archive.names()
        csv = _only(names, "train-metadata.csv", path)
        where = f"{csv} in {path}"
        metadata = read_strings(io.BytesIO(archive.read(csv)), where)
    _check_metadata(metadata, "isic_id", ["target"], where)
    keys = metadata["isic_id"]
    images = [name for name in names if "train-image/image/" in name and _is_image(name)]
    targets = {text: TARGETS[int(text[0])] for text in ("0", "1", "0.0", "1.0")}
    return _table(
        id=f"{edition}/" + keys,
        edition=edition,
        archive=str(path),
        member=_match_stems(keys, images, where, str(path)),
        label=_labels(metadata, "target", targets, keys, where),
        patient=metadata.get("patient_id"),
        lesion=metadata.get("lesion_id"),
    )


def _read_isic2016_split(split: str, images: str | Path, masks: str | Path) -> pd.DataFrame:
    with open_archive(images) as archive:
        found = _by_stem(name for name in archive.names() if _is_jpeg(PurePosixPath(name)))
    if not found:
        raise MeddiffError(f"{images} holds no <isic_id>.jpg: use the archive as published")
    _refuse_several(found, found.values(), str(images))
    table = _table(
        id=[f"2016/{stem}" for stem in found],
        edition="2016",
        archive=str(images),
        member=[files[0] for files in found.values()],
        label="lesion",
        split=split,
    )
    table = _with_masks(table, masks)
    if (lacking := table["mask_member"].isna()).any():
        raise several(
            f"{masks} lacks the masks of {lacking.sum()} of {len(table)} images in {images}",
            [f"{PurePosixPath(key).name}_Segmentation.png" for key in table.loc[lacking, "id"]],
            "the archives must be of one split; download the right one",
        )
    return table


def _is_hand(path: PurePosixPath) -> bool:
    return path.parent.name == "Hand" and _is_jpeg(path)


def _is_jpeg(path: PurePosixPath) -> bool:
    return path.suffix.lower() in (".jpg", ".jpeg")


def _read_metadata(csv: str | Path, key: str, columns: Iterable[str | None]) -> pd.DataFrame:
    metadata = read_strings(csv, str(csv))
    _check_metadata(metadata, key, [column for column in columns if column], str(csv))
    return metadata


def _check_metadata(metadata: pd.DataFrame, key: str, others: list[str], where: str) -> None:
    _require_columns(metadata, [key, *others], where)
    if metadata.empty:
        raise MeddiffError(f"{where} has a header but no rows: add one row an image")
    if (lacking := metadata[key].isna()).any():
        rows = [f"row {line}" for line in metadata.index[lacking]]
        raise several(f"{where} has {len(rows)} rows without {key}", rows, "fill in or remove them")
    _refuse_repeated(metadata[key], where, "keep one row an image")


def _require_columns(metadata: pd.DataFrame, columns: Iterable[str], where: str) -> None:
    for column in columns:
        if column not in metadata:
            raise MeddiffError(
                f"{where} has no column {column!r}; its columns are {', '.join(metadata.columns)}: "
                "rename one, or name another in the configuration"
            )


def _refuse_repeated(keys: pd.Series, where: str, remedy: str) -> None:
    again = keys[keys.duplicated(keep=False)]
    rows = [
        f"{key} (rows {', '.join(map(str, lines))})"
        for key, lines in again.groupby(again, sort=False).groups.items()
    ]
    if rows:
        raise several(f"{where} lists {len(rows)} ids more than once", rows, remedy)


def _labels(
    metadata: pd.DataFrame, column: str, names: Mapping[str, str], keys: pd.Series, where: str
) -> pd.Series:
    labels = metadata[column].map(dict(names)).astype("string")
    if (unknown := labels.isna()).any():
        rows = [
            f"{key} (row {line}: {'missing' if pd.isna(value) else value})"
            for line, key, value in zip(
                metadata.index[unknown], keys[unknown], metadata.loc[unknown, column], strict=True
            )
        ]
        raise several(
            f"{where} has {len(rows)} labels in column {column!r} that are missing or unknown",
            rows,
            f"allowed are {', '.join(names)}",
        )
    return labels


def _match_stems(keys: pd.Series, names: Iterable[str], where: str, folder: str) -> list[str]:
    """Return the one image of each id."""
    by_stem = _by_stem(names)
    found = [by_stem.get(key, []) for key in keys]
    _refuse_missing(keys, [not files for files in found], where, folder)
    _refuse_several(keys, found, folder)
    _log_ignored(sum(map(len, by_stem.values())) - len(found), where, folder)
    return [files[0] for files in found]


def _match_paths(paths: pd.Series, names: Iterable[str], where: str, folder: str) -> list[str]:
    """Return the image at each path, written the archive's way."""
    known = set(names)
    members = [
        "" if pd.isna(path) else PurePosixPath(path.replace("\\", "/")).as_posix() for path in paths
    ]
    _refuse_missing(paths.fillna("no path"), [m not in known for m in members], where, folder)
    _log_ignored(len(known.difference(members)), where, folder)
    return members


def _by_stem(names: Iterable[str]) -> dict[str, list[str]]:
    stems: dict[str, list[str]] = defaultdict(list)
    for name in names:
        stems[PurePosixPath(name).stem].append(name)
    return stems


def _refuse_missing(keys: pd.Series, missing: Sequence[bool], where: str, folder: str) -> None:
    lacking = keys[list(missing)]
    if len(lacking):
        raise several(
            f"{where} has {len(lacking)} rows without an image in {folder}",
            [f"{key} (row {line})" for line, key in lacking.items()],
            "add the images or remove the rows",
        )


def _refuse_several(keys: Iterable[str], found: Iterable[list[str]], folder: str) -> None:
    twice = [
        f"{key} ({', '.join(files)})"
        for key, files in zip(keys, found, strict=True)
        if len(files) > 1
    ]
    if twice:
        remedy = "keep one of each, or name the image in a column of its own"
        raise several(f"{folder} has more than one file for {len(twice)} ids", twice, remedy)


def _log_ignored(count: int, where: str, folder: str) -> None:
    if count:
        log.info("ignored %d images of %s without a row in %s", count, folder, where)


def _with_masks(table: pd.DataFrame, masks: str | Path) -> pd.DataFrame:
    """Add where each image's mask is, `<NA>` where there is none."""
    with open_archive(masks) as archive:
        by_stem = _by_stem(name for name in archive.names() if name.lower().endswith(".png"))
    keys = [PurePosixPath(key).name for key in table["id"]]
    found = [[name for end in MASK_ENDINGS for name in by_stem.get(key + end, [])] for key in keys]
    _refuse_several(keys, found, str(masks))
    members = pd.Series([files[0] if files else pd.NA for files in found], dtype="string")
    log.info("%s: %d of %d images have a mask", masks, members.notna().sum(), len(table))
    archives = members.where(members.isna(), str(masks))
    return table.assign(mask_archive=archives, mask_member=members)


def _image_names(folder: str | Path, apart_from: str | Path | None) -> list[str]:
    """List a folder's images; masks that are kept inside it are not among them."""
    with open_archive(folder) as archive:
        names = [name for name in archive.names() if _is_image(name)]
    if apart_from is None:
        return names
    inside = Path(apart_from).resolve()
    return [name for name in names if inside not in (Path(folder).resolve() / name).parents]


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES)


def _only(names: Iterable[str], ending: str, path: str | Path) -> str:
    found = [name for name in names if PurePosixPath(name).name == ending]
    if len(found) != 1:
        what = f"{len(found)} files" if found else "no file"
        raise MeddiffError(f"{path} holds {what} {ending}: use the data set as published")
    return found[0]


def _table(**columns: object) -> pd.DataFrame:
    """Return a table with all of COLUMNS, as strings, numbered from 0."""
    plain = {
        name: list(values) if isinstance(values, pd.Series) else values
        for name, values in columns.items()
    }
    table = pd.DataFrame(dict.fromkeys(COLUMNS, pd.NA) | plain)
    return table.astype("string").reset_index(drop=True)


def _join(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    table = pd.concat(list(tables), ignore_index=True)
    for (edition, label), rows in table.groupby(["edition", "label"]):
        log.info("edition %s: %d %s", edition, len(rows), label)
    return table
