"""Images with masks, for the U-Net."""

import logging

import pandas as pd

from meddiff.core.errors import MeddiffError

log = logging.getLogger(__name__)

SAME = ("image", "bytes_sha256", "pixels_sha256")
"""Columns in which two rows of one image agree."""


def masked_rows(split: pd.DataFrame) -> pd.DataFrame:
    """Return the training and test images that have a mask; their splits stay as they are."""
    rows = split[split["mask_member"].notna() & split["split"].isin(["train", "test"])]
    for name in ("train", "test"):
        if not (rows["split"] == name).any():
            raise MeddiffError(
                f"no image of the {name} split has a mask: add masks to data.folder.masks, or set "
                "it to null for a run without the U-Net"
            )
    return rows


def without_test_images(segmentation: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """Exclude images from training that are also test images of the classes.

    Args:
        segmentation: table with `image`, digests and the official `split`.
        images: table with `image`, digests, `group` and `split`.

    Returns:
        The table with `official_split`, and `split`, which is `<NA>` for excluded images.
    """
    official = official_split(segmentation)
    tested = images.loc[images["split"] == "test", "group"]
    among = is_among(segmentation, images[images["group"].isin(tested)])
    repeated = (official == "train") & among
    log.info("excluded %d training images: they are in the classes' test set", repeated.sum())
    return segmentation.assign(official_split=official, split=official.mask(repeated))


def is_among(images: pd.DataFrame, others: pd.DataFrame) -> pd.Series:
    """Return which images are also in another table, by ISIC id, bytes or pixels.

    Ids alone are not enough: the archive has some files under several ids.
    """
    repeated = pd.Series(False, images.index)
    for column in SAME:
        if column in images and column in others:
            repeated |= images[column].isin(others[column].dropna()).fillna(False).astype(bool)
    return repeated


def official_split(segmentation: pd.DataFrame) -> pd.Series:
    """Return the split as published."""
    column = "official_split" if "official_split" in segmentation else "split"
    return segmentation[column]
