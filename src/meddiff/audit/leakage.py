"""Count images, lesions and patients that training and test images share, under each protocol."""

from collections.abc import Collection, Mapping

import pandas as pd

from meddiff.core.errors import MeddiffError
from meddiff.data.settings import Count
from meddiff.data.splitting.segmentation import is_among, official_split, without_test_images
from meddiff.data.splitting.split import split_as_published, split_leak_free, undersample

SPLITTERS = {"as_published": split_as_published, "leak_free": split_leak_free}
TRAINED_ON = {"as_published": ("train", "validation", "test"), "leak_free": ("train",)}
"""Splits that the DDPMs are trained on."""
COLUMNS = ["protocol", "net", "unit", "n_train", "n_shared", "n_test", "n_leaked", "share", "note"]


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
    """Split by each protocol and count test images whose image, lesion or patient is in training.

    Args:
        index: table with `id`, `image`, `label`, `patient`, `lesion`, `group`, `duplicate_of`.
        segmentation: training images of the U-Net, with `image`, digests and `split`; or None.
        official: the U-Net's images were published separately, with a split of their own; else
            they are those of the index with masks, and each protocol splits them.
        ddpm_sets: splits that the DDPMs are trained on, if not those of the protocol.

    Returns:
        One row per protocol, net (`classifier`, `ddpm`, `unet`) and unit (`image`, its copies
        counted as one, `lesion`, `patient`): `n_train`, units in the net's training images,
        `n_shared`, those of them that are also in the test images, `n_test`, test images,
        `n_leaked`, test images of shared units, and `share`, their share. Images without a lesion
        or patient have no such unit; `<NA>` if none has one. A protocol that cannot split these
        images has one row, with the reason in `note`.
    """
    index = index.assign(photograph=index["duplicate_of"].fillna(index["id"]))
    rows: list[dict[str, object]] = []
    for protocol, split in SPLITTERS.items():
        try:
            table = index.assign(split=split(index, fractions=fractions, seed=seed))
            used = undersample(table, seed, counts).query("selected")
        except MeddiffError as error:
            rows.append({"protocol": protocol, "note": f"cannot split: {error}"})
            continue
        tested = used[used["split"] == "test"]
        trained_on = {"classifier": ("train",), "ddpm": ddpm_sets or TRAINED_ON[protocol]}
        for net, splits in trained_on.items():
            training = used[used["split"].isin(splits)]
            rows += [_row(protocol, net, unit, training, tested) for unit in _UNITS]
        if segmentation is not None:
            rows.append(_unet_row(protocol, segmentation, table, tested, official))
    whole = dict.fromkeys(("n_train", "n_shared", "n_test", "n_leaked"), "Int64")
    return pd.DataFrame(rows).reindex(columns=COLUMNS).astype(whole)


def listed_again(index: pd.DataFrame) -> pd.DataFrame:
    """Return an index in which each image stands twice, as an edition that holds another lists it.

    ISIC 2019 holds the files of ISIC 2018, byte for byte, under the same ids.
    """
    again = index.assign(
        id="again/" + index["id"],
        edition="again",
        duplicate_of=index["duplicate_of"].fillna(index["id"]),
    )
    return pd.concat([index, again], ignore_index=True)


_UNITS = {"image": "photograph", "lesion": "lesion", "patient": "patient"}


def _row(
    protocol: str, net: str, unit: str, training: pd.DataFrame, tested: pd.DataFrame
) -> dict[str, object]:
    column = _UNITS[unit]
    units = set(training[column].dropna())
    leaked = tested[column].isin(units)
    row = {"protocol": protocol, "net": net, "unit": unit, "n_train": len(units),
           "n_test": len(tested)}  # fmt: skip
    # Without any lesion or patient, the number of shared ones is missing, not zero.
    if tested[column].notna().any():
        row["n_shared"] = tested.loc[leaked, column].nunique()
        row |= {"n_leaked": leaked.sum(), "share": leaked.mean()}
    return row


def _unet_row(
    protocol: str,
    segmentation: pd.DataFrame,
    table: pd.DataFrame,
    tested: pd.DataFrame,
    official: bool,
) -> dict[str, object]:
    """Count the test images whose photograph is in the U-Net's training images."""
    if official:
        split = official_split(segmentation)
        if protocol == "leak_free":
            split = without_test_images(segmentation, table)["split"]
        training = segmentation[split == "train"]
    else:
        training = table[table["mask_member"].notna() & (table["split"] == "train")]
    shared = table.loc[is_among(table, training), "photograph"]
    rows = table[table["photograph"].isin(shared)]
    return _row(protocol, "unet", "image", rows, tested) | {"n_train": len(training)}
