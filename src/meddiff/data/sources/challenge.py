"""The ISIC challenge of 2018 to 2020: images, diagnoses, patients, lesions, official duplicates."""

import io
import logging
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from meddiff.core.errors import MeddiffError, first_names, listing_error
from meddiff.data.labels import DIAGNOSES, label_images, log_counts
from meddiff.data.readers.archive import open_archive
from meddiff.data.sources.accounting import LISTED, NOTES
from meddiff.data.sources.files import Matches, by_stem, check_one_file, is_jpeg, match_stems
from meddiff.data.sources.tables import (
    COLUMNS,
    check_metadata,
    join,
    map_labels,
    read_strings,
    record_table,
    require_columns,
)

log = logging.getLogger(__name__)

COLUMNS_OF_CHALLENGE = ("name", "image", "edition", "diagnosis", "target", "patient", "lesion")
NAMES = {
    "AKIEC": "AK",
    "melanoma": "MEL",
    "nevus": "NV",
    "seborrheic keratosis": "BKL",
    "lichenoid keratosis": "BKL",
    "solar lentigo": "BKL",
    "lentigo NOS": "BKL",
    "cafe-au-lait macule": "UNK",
    "atypical melanocytic proliferation": "UNK",
    "unknown": "UNK",
}
"""The archive's names of diagnoses where they differ from DIAGNOSES."""
TARGETS = {text: text[0] for text in ("0", "1", "0.0", "1.0")}
"""Melanoma or not, also as pandas writes it for a column with gaps."""


def image_of(names: pd.Series) -> pd.Series:
    """Return the ISIC ids behind names of files: some in 2019 are `<id>_downsampled`."""
    return names.str.removesuffix("_downsampled")


def read_challenge(tables: Mapping[str, Mapping[str, str | Path]]) -> pd.DataFrame:
    """Read the challenge's metadata of its images.

    Args:
        tables: edition to its tables by role: `diagnoses` and, if published apart, `lesions`.

    Returns:
        Strings, one row per image and edition: `name` of the file without suffix, `image` (ISIC
        id), `edition`, `diagnosis` (one of `meddiff.data.labels.DIAGNOSES`), `target` ("1" for
        melanoma, else "0"), `patient` and `lesion`.
    """
    parts = [_read_edition(edition, **files) for edition, files in tables.items()]
    return pd.concat([pd.DataFrame(columns=list(COLUMNS_OF_CHALLENGE), dtype="string"), *parts])


def read_challenge_images(
    archives: Mapping[str, str | Path], challenge: pd.DataFrame, policy: str
) -> pd.DataFrame:
    """Read the challenge's images at full resolution, one archive or folder per edition.

    Layout: `<folder>/<name>.jpg`. The id is `<edition>/<name>`.
    """
    tables = [
        _match_images(path, challenge[challenge["edition"] == edition], edition)
        for edition, path in archives.items()
    ]
    return describe(join(tables), challenge, policy)


def describe(records: pd.DataFrame, challenge: pd.DataFrame, policy: str) -> pd.DataFrame:
    """Add the challenge's metadata of each image, and its label under a policy.

    Values of the records themselves take precedence. Counts under every policy are logged. The
    label is `<NA>` where the policy cannot decide it.
    """
    metadata = challenge.drop_duplicates(["edition", "image"]).set_index(["edition", "image"])
    metadata = metadata.reindex(pd.MultiIndex.from_frame(records[["edition", "image"]]))
    table = records.copy()
    for name in ("diagnosis", "target", "patient", "lesion"):
        column = pd.Series(metadata[name].to_numpy(), records.index, dtype="string")
        table[name] = table[name].fillna(column) if name in table else column
    table["label"] = label_images(table, policy)
    images = table[table["member"].notna()]
    _warn_contradictions(images)
    log_counts(images, policy)
    if len(undecided := images.loc[images["label"].isna(), "id"]):
        message = (
            "%d images have no diagnosis, without which the label policy %s cannot tell their "
            "class, left out: %s"
        )
        log.warning(message, len(undecided), policy, first_names(list(undecided)))
    return table[[*COLUMNS, *(name for name in NOTES if name in table)]]


def edition_records(
    edition: str, path: str | Path, keys: pd.Series, matches: Matches, **columns: object
) -> pd.DataFrame:
    """Return a record of each row of an edition's table, and one of each image without a row.

    Args:
        keys: names of files without suffix, one per row; the id is `<edition>/<name>`.
    """
    shared = {"edition": edition, "archive": str(path)}
    rows = record_table(
        id=f"{edition}/" + keys,
        image=image_of(keys),
        member=matches.members,
        **{LISTED: "yes"},
        **shared,
        **columns,
    )
    rest = by_stem(matches.rest)
    check_one_file(rest, rest.values(), str(path))
    names = pd.Series(list(rest), dtype="string")
    unlisted = record_table(
        id=f"{edition}/" + names, image=image_of(names), member=matches.rest, **shared
    )
    return pd.concat([rows, unlisted], ignore_index=True)


def read_official_duplicates(path: str | Path) -> pd.DataFrame:
    """Read the archive's own list of duplicates (2020): pairs of ISIC ids, `first` and `second`."""
    pairs = read_strings(path, str(path))
    columns = {"first": "image_name_1", "second": "image_name_2"}
    require_columns(pairs, columns.values(), str(path))
    return pd.DataFrame({name: image_of(pairs[column]) for name, column in columns.items()})


def _read_edition(
    edition: str, diagnoses: str | Path, lesions: str | Path | None = None
) -> pd.DataFrame:
    table, where = _open_table(diagnoses)
    if "image_name" in table:
        metadata = _read_2020(table, where)
    else:
        read = _read_ham10000 if "image_id" in table else _read_one_hot
        metadata = read(table, where)
    if lesions:
        metadata["lesion"] = metadata["name"].map(_read_lesions(lesions))
    metadata = metadata.assign(edition=edition, image=image_of(metadata["name"]))
    return metadata.reindex(columns=list(COLUMNS_OF_CHALLENGE)).astype("string")


def _read_one_hot(table: pd.DataFrame, where: str) -> pd.DataFrame:
    """Read the ground truth of 2018 (Task 3) or 2019: one column per diagnosis."""
    check_metadata(table, "image", ["MEL"], where)
    columns = {name: NAMES.get(name, name) for name in map(str, table)}
    marks = table[[name for name, diagnosis in columns.items() if diagnosis in DIAGNOSES]]
    chosen = marks.apply(pd.to_numeric, errors="coerce").eq(1)
    if (unclear := chosen.sum(axis=1) != 1).any():
        raise listing_error(
            f"{where} has {unclear.sum()} images without exactly one diagnosis",
            [f"{name} (row {line})" for line, name in table.loc[unclear, "image"].items()],
            "use the table as published",
        )
    diagnosis = chosen.idxmax(axis=1).map(columns)
    target = diagnosis.eq("MEL").map({True: "1", False: "0"})
    return pd.DataFrame({"name": table["image"], "diagnosis": diagnosis, "target": target})


def _read_ham10000(table: pd.DataFrame, where: str) -> pd.DataFrame:
    """Read the metadata of HAM10000, which are the ground truth and the lesions of 2018."""
    check_metadata(table, "image_id", ["lesion_id", "dx"], where)
    table = table.assign(dx=table["dx"].str.upper())
    names = {name: name for name in DIAGNOSES} | NAMES
    diagnosis = map_labels(table, "dx", names, table["image_id"], where)
    target = diagnosis.eq("MEL").map({True: "1", False: "0"})
    columns = {"name": table["image_id"], "lesion": table["lesion_id"]}
    return pd.DataFrame(columns | {"diagnosis": diagnosis, "target": target})


def _read_2020(table: pd.DataFrame, where: str) -> pd.DataFrame:
    check_metadata(table, "image_name", ["patient_id", "diagnosis", "target"], where)
    names, keys = {name: name for name in DIAGNOSES} | NAMES, table["image_name"]
    return pd.DataFrame(
        {
            "name": keys,
            "diagnosis": map_labels(table, "diagnosis", names, keys, where),
            "target": map_labels(table, "target", TARGETS, keys, where),
            "patient": table["patient_id"],
            "lesion": table.get("lesion_id"),
        }
    )


def _read_lesions(path: str | Path) -> pd.Series:
    """Return the lesion of each image of 2018, also of HAM10000's metadata, or of 2019."""
    table, _ = _open_table(path)
    key = "image_id" if "image_id" in table else "image"
    check_metadata(table, key, ["lesion_id"], str(path))
    return table.set_index(key)["lesion_id"]


def _open_table(path: str | Path) -> tuple[pd.DataFrame, str]:
    """Read a CSV, or the only one in an archive; return it and how errors name it."""
    if Path(path).is_file() and not (data := Path(path).read_bytes()).startswith(b"PK"):
        # Its name may say otherwise, from which pandas would choose how to read it.
        return read_strings(io.BytesIO(data), str(path)), str(path)
    with open_archive(path) as archive:
        tables = [name for name in archive.names() if name.endswith(".csv")]
        if len(tables) != 1:
            raise MeddiffError(f"{path} holds {len(tables)} tables, not one: use it as published")
        where = f"{tables[0]} in {path}"
        return read_strings(io.BytesIO(archive.read(tables[0])), where), where


def _match_images(path: str | Path, metadata: pd.DataFrame, edition: str) -> pd.DataFrame:
    """Find the file of each image that the ground truth of an edition names."""
    with open_archive(path) as archive:
        files = [name for name in archive.names() if is_jpeg(name)]
    names, where = metadata["name"], f"the ground truth of {edition}"
    matches = match_stems(names, files, where, str(path), strict=False)
    return edition_records(edition, path, names, matches)


def _warn_contradictions(table: pd.DataFrame) -> None:
    """Log how many images are melanoma by target and not by diagnosis, or the reverse."""
    both = table["diagnosis"].notna() & table["target"].notna()
    against = table["diagnosis"].eq("MEL") != table["target"].eq("1")
    if number := int((both & against).sum()):
        log.warning("%d images have a target that contradicts their diagnosis", number)
