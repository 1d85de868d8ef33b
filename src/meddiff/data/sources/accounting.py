"""What a source lists, what is there of it, and what is used: archives are not always whole."""

import logging

import pandas as pd

log = logging.getLogger(__name__)

LISTED = "listed"
"""Column of a record that a row of the source's own table stands behind it: "yes" or `<NA>`."""
NOT_A_PATIENT = "not_a_patient"
"""Column with what the source's patient was in fact, INVENTED or LESION, else `<NA>`."""
INVENTED, LESION = "invented", "lesion"
NOTES = (LISTED, NOT_A_PATIENT)


def take_usable(records: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the records that have an image and a label, and counts of all by edition.

    Args:
        records: table of `meddiff.data.sources`, with NOTES if the source has a table; `member` is
            `<NA>` for rows without an image, `label` where none could be decided.

    Returns:
        The usable records without NOTES, and one row per edition (Int64 but for `edition`):
        `n_rows` of the source's table, `rows_without_image`, `n_images` in the archive,
        `images_without_row`, `images_without_diagnosis`, `images_without_label`,
        `invented_patients`, `lesions_as_patients` and `n_used`. Those on rows are `<NA>` where the
        source has no table, that on diagnoses where it has none.
    """
    usable = records["member"].notna() & records["label"].notna()
    counts = pd.DataFrame(
        [_count(str(name), rows) for name, rows in records.groupby("edition", sort=False)]
    )
    counts = counts.astype({name: "Int64" for name in counts if name != "edition"})
    for _, row in counts.iterrows():
        _log_counts(row)
    used = records[usable].drop(columns=[name for name in NOTES if name in records])
    return used.reset_index(drop=True), counts


def _count(edition: str, records: pd.DataFrame) -> dict[str, object]:
    images = records[records["member"].notna()]
    listed = records.get(LISTED, pd.Series(pd.NA, records.index))
    rows: dict[str, object] = dict.fromkeys(["n_rows", "rows_without_image"], pd.NA)
    unlisted: dict[str, object] = {"images_without_row": pd.NA}
    if listed.notna().any():
        rows = {"n_rows": listed.notna().sum(), "rows_without_image": len(records) - len(images)}
        unlisted = {"images_without_row": listed[images.index].isna().sum()}
    diagnosed = images["diagnosis"].notna()
    notes = images.get(NOT_A_PATIENT, pd.Series(pd.NA, images.index))
    return {
        "edition": edition,
        **rows,
        "n_images": len(images),
        **unlisted,
        "images_without_diagnosis": (~diagnosed).sum() if diagnosed.any() else pd.NA,
        "images_without_label": images["label"].isna().sum(),
        "invented_patients": (notes == INVENTED).sum(),
        "lesions_as_patients": (notes == LESION).sum(),
        "n_used": images["label"].notna().sum(),
    }


def _log_counts(counts: pd.Series) -> None:
    """Log what an edition lacks, in one line."""
    faults = counts.drop(["edition", "n_rows", "n_images", "n_used"]).dropna()
    texts = [f"{count} {str(name).replace('_', ' ')}" for name, count in faults.items() if count]
    lacking = f" ({', '.join(texts)})" if texts else ""
    values = counts[["edition", "n_used", "n_images"]]
    log.info("edition %s: %d of %d images used%s", *values, lacking)
