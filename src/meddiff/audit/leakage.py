"""What crosses from training to test: images, lesions and patients, under each protocol."""

from collections.abc import Collection, Mapping

import pandas as pd

from meddiff.core.errors import MeddiffError
from meddiff.data.settings import Count
from meddiff.data.splitting.segmentation import is_among, official_split, without_test_images
from meddiff.data.splitting.split import split_as_published, split_leak_free, undersample

SPLITTERS = {"as_published": split_as_published, "leak_free": split_leak_free}
TRAINED_ON = {"as_published": ("train", "validation", "test"), "leak_free": ("train",)}
"""Splits that the DDPMs learn from."""
COLUMNS = [
    "protocol",
    "net",
    "unit",
    "learnt",
    "crossing",
    "n_test",
    "leaked",
    "share",
    "note",
]


def leakage_table(
    index: pd.DataFrame,
    segmentation: pd.DataFrame | None,
    *,
    fractions: Mapping[str, float],
    counts: Mapping[str, Count],
    seed: int,
    official: bool = True,
    ddpm_sets: Collection[str] | None = None,
) -> pd.DataFrame:
    """Split by each protocol and count the test images whose image, lesion or patient was learnt.

    Args:
        index: table with `id`, `image`, `label`, `patient`, `lesion`, `group`, `duplicate_of`.
        segmentation: images that the U-Net learns from, with `image`, digests and `split`.
        fractions: split to its share.
        counts: images kept of a class, see `meddiff.data.splitting.split.undersample`.
        seed: seed of splits and undersampling.
        official: the U-Net's images were published apart, with a split of their own; otherwise they
            are those of the index that have masks, and each protocol splits them.
        ddpm_sets: splits that the DDPMs learn from, where not those of the protocol.

    Returns:
        One row for each protocol, net that learns (`classifier`, `ddpm`, `unet`) and unit
        (`image`, copies counting as one, `lesion`, `patient`): `learnt`, units that the net learns
        from, `crossing`, those that also stand among the test images, `n_test`,
        `leaked`, the test images of crossing units, and their share. Images without a known lesion
        or patient have no such unit; `<NA>` where none of them is known. A protocol that cannot
        split these images has one row, whose `note` says why.
    """
    index = index.assign(photograph=index["duplicate_of"].fillna(index["id"]))
    rows: list[dict[str, object]] = []
    for protocol, split in SPLITTERS.items():
        try:
            table = index.assign(split=split(index, fractions=fractions, seed=seed))
            used = _used(table, counts, seed)
        except MeddiffError as error:
            rows.append({"protocol": protocol, "note": f"cannot split: {error}"})
            continue
        tested = used[used["split"] == "test"]
        trained_on = {"classifier": ("train",), "ddpm": ddpm_sets or TRAINED_ON[protocol]}
        for net, splits in trained_on.items():
            learnt = used[used["split"].isin(splits)]
            rows += [_row(protocol, net, unit, learnt, tested) for unit in _UNITS]
        if segmentation is not None:
            rows.append(_unet_row(protocol, segmentation, table, tested, official))
    whole = dict.fromkeys(("learnt", "crossing", "n_test", "leaked"), "Int64")
    return pd.DataFrame(rows).reindex(columns=COLUMNS).astype(whole)


_UNITS = {"image": "photograph", "lesion": "lesion", "patient": "patient"}


def _used(table: pd.DataFrame, counts: Mapping[str, Count], seed: int) -> pd.DataFrame:
    """Return the images in use, `photograph` being the same for all copies of an image."""
    table = undersample(table, seed, counts)
    return table[table["selected"]]


def _row(
    protocol: str, net: str, unit: str, learnt: pd.DataFrame, tested: pd.DataFrame
) -> dict[str, object]:
    column = _UNITS[unit]
    units = set(learnt[column].dropna())
    leaked = tested[column].isin(units)
    counts = {
        "crossing": tested.loc[leaked, column].nunique(),
        "n_test": len(tested),
        "leaked": leaked.sum(),
        "share": leaked.mean(),
    }
    row = {"protocol": protocol, "net": net, "unit": unit, "learnt": len(units)}
    # Where no lesion or patient is known, none is known to cross: that is no zero.
    return row | (counts if tested[column].notna().any() else {"n_test": len(tested)})


def _unet_row(
    protocol: str,
    segmentation: pd.DataFrame,
    table: pd.DataFrame,
    tested: pd.DataFrame,
    official: bool,
) -> dict[str, object]:
    """Count the test images that are photographs which the U-Net learns from."""
    if official:
        split = official_split(segmentation)
        if protocol == "leak_free":
            split = without_test_images(segmentation, table)["split"]
        learnt = segmentation[split == "train"]
    else:
        learnt = table[table["mask_member"].notna() & (table["split"] == "train")]
    shown = table["photograph"].isin(table.loc[is_among(table, learnt), "photograph"])
    return _row(protocol, "unet", "image", table[shown], tested) | {"learnt": len(learnt)}
