"""ISIC 2016, Part 1: lesions with masks, and their official training and test images."""

import logging
from pathlib import Path, PurePosixPath

import pandas as pd

from meddiff.core.errors import MeddiffError, listing_error
from meddiff.core.tables import read_csv
from meddiff.data.sources.files import jpegs_by_stem, with_masks
from meddiff.data.sources.tables import join, record_table

log = logging.getLogger(__name__)

OFFICIAL = Path(__file__).with_name("isic2016.csv")
"""Images of the challenge of 2016 and their official splits, by its ground truth (Part 3)."""


def read_isic2016(
    train_images: str | Path,
    train_masks: str | Path,
    test_images: str | Path,
    test_masks: str | Path,
) -> pd.DataFrame:
    """Read the ISIC 2016 challenge, Part 1: lesions with masks, and its official `split`.

    Layout: `<top>/<isic_id>.jpg` and `<top>/<isic_id>_Segmentation.png`. Edition "2016", label
    "lesion", `split` train or test, id `2016/<isic_id>`. Archives of ISIC 2018 Task 1, which holds
    most of these images among others, may stand for those of both splits: the official lists,
    `isic2016.csv`, divide them.
    """
    train = _read_split("train", train_images, train_masks)
    test = _read_split("test", test_images, test_masks)
    if set(train["id"]) == set(test["id"]):
        train, test = _divide_by_lists(train, test)
    if both := sorted(set(train["id"]) & set(test["id"])):
        raise listing_error(
            f"{len(both)} images are in {train_images} and in {test_images}",
            both,
            "use the archives of the two splits as published",
        )
    return join([train, test])


def _divide_by_lists(train: pd.DataFrame, test: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return of two tables of the same images those that ISIC 2016's lists name."""
    official = read_csv(OFFICIAL).set_index("image")["split"]
    parts = []
    for table in (train, test):
        split = table["split"].iloc[0]
        listed = official[official == split]
        part = table[table["image"].isin(listed.index)].reset_index(drop=True)
        if part.empty:
            raise MeddiffError(
                f"{table['archive'].iloc[0]} has the images of both splits of ISIC 2016 by its "
                f"place, and none of its {split} images: use the archives as published"
            )
        log.info("%d of ISIC 2016's %d %s images are here", len(part), len(listed), split)
        parts.append(part)
    log.info("%d images are not ISIC 2016's, left out", len(train) - sum(map(len, parts)))
    return parts[0], parts[1]


def _read_split(split: str, images: str | Path, masks: str | Path) -> pd.DataFrame:
    files = jpegs_by_stem(images, "<isic_id>.jpg")
    table = record_table(
        id=[f"2016/{stem}" for stem in files],
        edition="2016",
        image=list(files),
        archive=str(images),
        member=list(files.values()),
        label="lesion",
        split=split,
    )
    table = with_masks(table, masks)
    if (lacking := table["mask_member"].isna()).any():
        raise listing_error(
            f"{masks} lacks the masks of {lacking.sum()} of {len(table)} images in {images}",
            [f"{PurePosixPath(key).name}_Segmentation.png" for key in table.loc[lacking, "id"]],
            "the archives must be of one split; download the right one",
        )
    return table
