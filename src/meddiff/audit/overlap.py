"""Count the images of an edition that recur in another edition or in the same one."""

from collections.abc import Callable
from itertools import product

import pandas as pd

SAME = {"same_id": "image", "same_bytes": "bytes_sha256", "same_pixels": "pixels_sha256"}
"""Columns of the index in which copies of an image agree, by kind of copy."""


def overlap_table(index: pd.DataFrame, links: pd.DataFrame) -> pd.DataFrame:
    """Count the images of each edition that have a duplicate in each edition.

    Args:
        index: table with `id`, `edition`, `image`, the digests, and `duplicate_of`.
        links: pairs `first`, `second` of ids, and `kind`, of `meddiff.data.duplicates.search`.

    Returns:
        One row for each ordered pair of editions: `edition`, `other_edition`, `n_images` of the
        edition, `duplicates`, how many of them have another row in `other_edition` with the same
        photograph; of these those with the same id, bytes or pixels as one there, those that only
        the archive's own list (`official`) or only their looks (`near`) tie to one there, those
        tied through a third image (`indirect`), and those that are of another class there
        (`other_label`).
    """
    kinds = {name: _keyed(index[column]) for name, column in SAME.items() if column in index}
    kinds |= {kind: _listed(links[links["kind"] == kind]) for kind in ("official", "near")}
    photographs = index["duplicate_of"].fillna(index["id"])
    photograph, contradicted = _keyed(photographs), _contradicted(photographs)
    editions = sorted(index["edition"].unique())
    rows = [
        _count(index, *pair, photograph, kinds, contradicted)
        for pair in product(editions, editions)
    ]
    return pd.DataFrame(rows)


Partners = Callable[[pd.DataFrame, pd.DataFrame], pd.Series]
"""From two sets of rows, which of the first have a partner, not themselves, in the second."""


def _count(
    index: pd.DataFrame,
    edition: str,
    other: str,
    photograph: Partners,
    kinds: dict[str, Partners],
    contradicted: Partners,
) -> dict[str, object]:
    rows, others = (index[index["edition"] == name] for name in (edition, other))
    repeated = photograph(rows, others)
    copies = {name: partners(rows, others) & repeated for name, partners in kinds.items()}
    copies["indirect"] = repeated & ~pd.DataFrame(copies).any(axis=1)
    copies["other_label"] = repeated & contradicted(rows, others)
    counts = {name: int(counted.sum()) for name, counted in copies.items()}
    head = {"edition": edition, "other_edition": other, "n_images": len(rows)}
    return head | {"duplicates": int(repeated.sum())} | counts


def _keyed(keys: pd.Series) -> Partners:
    """Partners are rows with the same key."""

    def partners(rows: pd.DataFrame, others: pd.DataFrame) -> pd.Series:
        sizes = keys[others.index].value_counts()
        own = keys[rows.index].isin(keys[rows.index.intersection(others.index)]).astype(int)
        return keys[rows.index].map(sizes).fillna(0) > own

    return partners


def _listed(pairs: pd.DataFrame) -> Partners:
    """Partners are rows of a pair."""
    both = pd.concat(
        [pairs[["first", "second"]], pairs.rename(columns={"first": "second", "second": "first"})]
    )

    def partners(rows: pd.DataFrame, others: pd.DataFrame) -> pd.Series:
        return rows["id"].isin(both.loc[both["second"].isin(others["id"]), "first"])

    return partners


def _contradicted(photographs: pd.Series) -> Partners:
    """Partners are rows of the same photograph with another label."""

    def partners(rows: pd.DataFrame, others: pd.DataFrame) -> pd.Series:
        labels = others.groupby(photographs[others.index])["label"].agg(set)
        other_labels = photographs[rows.index].map(labels)
        differ = [
            isinstance(classes, set) and bool(classes - {label})
            for classes, label in zip(other_labels, rows["label"], strict=True)
        ]
        return pd.Series(differ, rows.index)

    return partners
