"""Images with masks, for the U-Net."""

import logging

import pandas as pd

from meddiff.errors import MeddiffError

log = logging.getLogger(__name__)


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


def without_test_lesions(segmentation: pd.DataFrame, lesions: pd.DataFrame) -> pd.DataFrame:
    """Take out of training what is also among the test images of the lesions.

    Args:
        segmentation: table with `image` and the official `split`.
        lesions: table with `image`, `group` and `split`.

    Returns:
        The table with `official_split`, and `split`, which is `<NA>` for what was taken out.
    """
    official = official_split(segmentation)
    shown = shown_again(segmentation, lesions)
    log.info("left out %d training images: the lesions' test set has them too", shown.sum())
    return segmentation.assign(official_split=official, split=official.mask(shown))


def shown_again(segmentation: pd.DataFrame, lesions: pd.DataFrame) -> pd.Series:
    """Return which training images, or others of their group, are test images of the lesions."""
    tested = lesions.loc[lesions["split"] == "test", "group"]
    images = lesions.loc[lesions["group"].isin(tested), "image"].dropna()
    return (official_split(segmentation) == "train") & segmentation["image"].isin(images)


def official_split(segmentation: pd.DataFrame) -> pd.Series:
    """Return the split as published."""
    column = "official_split" if "official_split" in segmentation else "split"
    return segmentation[column]
