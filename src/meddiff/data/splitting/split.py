"""Divide images into splits, and balance the classes of a split.

Every random order sorts by a hash of (seed, purpose, id). It therefore depends on neither the order
of rows nor on the other images: adding an image moves no other within its order.
"""

import logging
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meddiff.core.errors import MeddiffError
from meddiff.core.randomness import stream_seed
from meddiff.data.settings import Count

log = logging.getLogger(__name__)

MIN_IMAGES = 2
"""Images of a class that every split needs: FID, the similarity within a set and cross-validation
take at least two, of training, validation and test images alike."""


def split_leak_free(index: pd.DataFrame, *, fractions: Mapping[str, float], seed: int) -> pd.Series:
    """Split by group, so that no patient, lesion or duplicate is in two splits.

    Duplicates are dropped first. Whole groups, the largest first and else in random order, then go
    to the split that lacks most images of the group's labels: each split gets its share of each
    class to within the size of a group.

    Args:
        index: table with `id`, `label`, and `group` and `duplicate_of` of `search_index`.
        fractions: share of images of each split; splits with share 0 are omitted.

    Returns:
        The split's name for each row; `<NA>` for duplicates of another image.

    Raises:
        MeddiffError: the fractions do not sum to 1, or a class has fewer groups than splits.
    """
    shares = _shares(fractions)
    kept = index[index["duplicate_of"].isna()]
    counts = pd.crosstab(kept["group"], kept["label"])
    _require(counts.gt(0).sum(), shares, "groups of images")
    names = kept.groupby("group")["id"].min()
    counts = counts.loc[_random_order(names, seed)]
    counts = counts.iloc[np.argsort(-counts.sum(axis=1).to_numpy(), kind="stable")]
    chosen = _assign_groups(counts.to_numpy(), np.array(list(shares.values())))
    split_of = pd.Series(np.array(list(shares))[chosen], counts.index)
    split = kept["group"].map(split_of).astype("string").reindex(index.index)
    _log_counts(split, index["label"])
    _require_all(split, index["label"], shares)
    return split


def split_as_published(index: pd.DataFrame, fractions: Mapping[str, float], seed: int) -> pd.Series:
    """Split image by image within each class, blind to patients and duplicates: as the study."""
    shares = _shares(fractions)
    _require(index["label"].value_counts(), shares, "images")
    parts = []
    for _, ids in index.groupby("label")["id"]:
        sizes = _apportion(len(ids), list(shares.values()))
        order = _random_order(ids, seed)
        parts.append(pd.Series(np.repeat(list(shares), sizes), order, dtype="string"))
    split = pd.concat(parts).reindex(index.index)
    _log_counts(split, index["label"])
    return split


def undersample(
    table: pd.DataFrame, seed: int, counts: Mapping[str, Count] | None = None
) -> pd.DataFrame:
    """Select at random as many images of each class as the smallest class of the split has.

    Args:
        table: table with `id`, `label` and `split`; rows without a split are never selected.
        counts: images kept per class instead, over all splits, or "all"; each split keeps its
            share.

    Returns:
        The table with `rank`, the 0-based place in a random order of (split, label), and
        `selected`, whether that is below the number kept.

    Raises:
        MeddiffError: a class has fewer images than its count, or a count is below the number of
            splits.
    """
    counts = dict(counts or {})
    _require_counts(counts, table)
    hashes = _random_hashes(table["id"], seed, "undersample")
    cells = [table["split"], table["label"]]
    rank = hashes.groupby(cells).rank(method="first").astype("Int64") - 1
    size = hashes.groupby(cells).transform("size")
    smallest = size.groupby(table["split"]).transform("min")
    kept = smallest.copy()
    for label, count in counts.items():
        of_label = table["label"] == label
        if count == "all":
            kept[of_label] = size
            continue
        sizes = table.loc[of_label, "split"].value_counts(sort=False)
        numbers = _apportion(count, list(sizes / sizes.sum()))
        kept[of_label] = table["split"].map(dict(zip(sizes.index, numbers, strict=True)))
    selected = (rank < kept).fillna(False).astype(bool)
    _log_counts(table["split"].where(selected), table["label"])
    return table.assign(rank=rank, selected=selected)


def require_images(
    table: pd.DataFrame, classes: Sequence[str], fractions: Mapping[str, float]
) -> None:
    """Raise if a class has no image, or fewer than MIN_IMAGES in a split, before any training."""
    splits = [name for name, share in fractions.items() if share]
    present = table[table["split"].notna()]
    whole, kept = (
        _count(rows, classes, splits) for rows in (present, present[present["selected"]])
    )
    if absent := [name for name in classes if not any(whole[name].values())]:
        raise MeddiffError(
            f"data.classes: no image of {', '.join(absent)}; add images or remove the class"
        )
    remedies = [remedy for name in classes for remedy in _remedies(whole[name])]
    if remedies:
        raise _too_few(whole, ", ".join(dict.fromkeys([*remedies, "or add images"])))
    if any(count < MIN_IMAGES for counts in kept.values() for count in counts.values()):
        remedy = "raise undersample.counts, or set `undersample: none` to keep all images"
        raise _too_few(kept, remedy)


def _count(
    rows: pd.DataFrame, classes: Sequence[str], splits: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Count images by class and split."""
    counts = rows.groupby(["label", "split"]).size().to_dict()
    return {name: {split: counts.get((name, split), 0) for split in splits} for name in classes}


def _remedies(counts: Mapping[str, int]) -> list[str]:
    """Return settings to change so that a class has enough images in each split."""
    few = [name for name, count in counts.items() if count < MIN_IMAGES]
    if few and sum(counts.values()) < MIN_IMAGES * len(counts):
        return ["remove the class"]
    remedies = [f"raise split.{name}" for name in few if name != "train"]
    if "train" in few:
        remedies += [f"lower split.{name}" for name in counts if name not in few]
    return remedies


def _too_few(counts: Mapping[str, Mapping[str, int]], remedy: str) -> MeddiffError:
    lacking = [
        f"class {name} has " + ", ".join(f"{count} {split}" for split, count in of_class.items())
        for name, of_class in counts.items()
        if min(of_class.values()) < MIN_IMAGES
    ]
    return MeddiffError(
        f"{'; '.join(lacking)} images, but each split needs at least {MIN_IMAGES} of each class: "
        f"{remedy}"
    )


def _random_hashes(ids: pd.Series, seed: int, purpose: str) -> pd.Series:
    return pd.Series([stream_seed(seed, purpose, key) for key in ids], ids.index, dtype="int64")


def _random_order(ids: pd.Series, seed: int) -> pd.Index:
    return _random_hashes(ids, seed, "split").sort_values().index


def _shares(fractions: Mapping[str, float]) -> dict[str, float]:
    shares = {name: share for name, share in fractions.items() if share != 0}
    if min(shares.values(), default=0) <= 0 or not math.isclose(sum(shares.values()), 1):
        raise MeddiffError(
            f"the split's fractions must be positive and sum to 1: {dict(fractions)}"
        )
    return shares


def _require(available: pd.Series, shares: Mapping[str, float], unit: str) -> None:
    """Raise if a class cannot reach every split."""
    for label, count in available.items():
        if count < len(shares):
            raise MeddiffError(
                f"class {label} has {count} {unit}, but the splits {', '.join(shares)} need at "
                f"least {len(shares)}, one each: add images, or remove the class from data.classes"
            )


def _require_counts(counts: Mapping[str, Count], table: pd.DataFrame) -> None:
    available = table.loc[table["split"].notna(), "label"].value_counts()
    for label, count in counts.items():
        if count == "all":
            continue
        if count > (most := available.get(label, 0)):
            raise MeddiffError(
                f"undersample.counts: class {label} has {most} images, not {count}: "
                "lower the count or add images"
            )
        if count < (splits := table["split"].nunique()):
            raise MeddiffError(
                f"undersample.counts: {count} images of class {label} are too few for "
                f"{splits} splits: raise the count"
            )


def _require_all(split: pd.Series, labels: pd.Series, shares: Mapping[str, float]) -> None:
    counts = pd.crosstab(labels, split).reindex(columns=list(shares), fill_value=0)
    for label, row in counts.iterrows():
        if empty := [name for name in shares if row[name] == 0]:
            raise MeddiffError(
                f"class {label} has "
                + ", ".join(f"{count} {name}" for name, count in row.items())
                + " images, but each split needs some: its images are grouped with others by "
                f"patient, lesion or duplicate; raise split.{empty[0]}, or add images of others"
            )


def _apportion(count: int, shares: Sequence[float]) -> NDArray[np.intp]:
    """Divide `count` by the shares, rounded, with at least one for each."""
    spare = np.clip(count * np.array(shares) - 1, 0, None)
    ends = np.cumsum(spare) / (spare.sum() or 1) * (count - len(shares))
    return 1 + np.diff(np.round(ends), prepend=0.0).astype(np.intp)


def _assign_groups(counts: NDArray[np.intp], shares: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the split of each group, (groups,), from counts (groups, labels)."""
    deficit = np.outer(shares, counts.sum(axis=0))
    empty = np.ones(deficit.shape, bool)
    groups_left = (counts > 0).sum(axis=0)
    chosen = np.empty(len(counts), np.intp)
    for row, group in enumerate(counts):
        labels = group > 0
        # The last groups of a class are reserved for splits that have none of it.
        scarce = labels & (groups_left <= empty.sum(axis=0))
        urgent = (empty & scarce).sum(axis=1)
        chosen[row] = best = np.lexsort((deficit @ group, urgent))[-1]
        deficit[best] -= group
        empty[best] &= ~labels
        groups_left -= labels
    return chosen


def _log_counts(split: pd.Series, labels: pd.Series) -> None:
    for name, rows in labels[split.notna()].groupby(split):
        counts = ", ".join(f"{count} {label}" for label, count in rows.value_counts().items())
        log.info("%s: %s", name, counts)
