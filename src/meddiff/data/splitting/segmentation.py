"""Images with masks, for the U-Net."""

import logging

import pandas as pd

from meddiff.core.errors import MeddiffError

log = logging.getLogger(__name__)

SAME = ("image", "bytes_sha256", "pixels_sha256")
"""Columns that two rows of one image have in common."""


def masked_rows(split: pd.DataFrame) -> pd.DataFrame:
    """Return the training and test images that have a mask; their splits stay as they are.

    Args:
        split: a data set that was split for everything else.

    Raises:
        MeddiffError: one of the two has none.
    """
    rows = split[split["mask_member"].notna() & split["split"].isin(["train", "test"])]
    for name in ("train", "test"):
        if not (rows["split"] == name).any():
            raise MeddiffError(
                f"no image of the {name} split has a mask: add masks to data.folder.masks, or set "
                "it to null to go without the U-Net"
            )
    return rows


def without_test_images(segmentation: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """Take out of training what is also among the test images of the classes.

    Args:
        segmentation: table with `image`, digests and the official `split`.
        images: table with `image`, digests, `group` and `split`.

    Returns:
        The table with `official_split`, and `split`, which is `<NA>` for what was taken out.
    """
    official = official_split(segmentation)
    shown = shown_again(segmentation, images)
    log.info("left out %d training images: the test set of the classes has them too", shown.sum())
    return segmentation.assign(official_split=official, split=official.mask(shown))


def shown_again(segmentation: pd.DataFrame, images: pd.DataFrame) -> pd.Series:
    """Return which training images, or others of their group, are test images of the classes."""
    tested = images.loc[images["split"] == "test", "group"]
    again = is_among(segmentation, images[images["group"].isin(tested)])
    return (official_split(segmentation) == "train") & again


def is_among(images: pd.DataFrame, others: pd.DataFrame) -> pd.Series:
    """Return which images stand among others too: by ISIC id, bytes or pixels.

    Ids alone would not do: the archive has one file under several.
    """
    found = pd.Series(False, images.index)
    for column in SAME:
        if column in images and column in others:
            found |= images[column].isin(others[column].dropna()).fillna(False).astype(bool)
    return found


def official_split(segmentation: pd.DataFrame) -> pd.Series:
    """Return the split as published."""
    column = "official_split" if "official_split" in segmentation else "split"
    return segmentation[column]
