"""Images with masks out of a data set that was split for everything else."""

import pandas as pd

from meddiff.errors import MeddiffError


def masked_rows(split: pd.DataFrame) -> pd.DataFrame:
    """Return the training and test images that have a mask; their splits stay as they are.

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
