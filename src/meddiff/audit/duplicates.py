"""Which images of an edition stand in another edition, or again in the same one."""

from collections.abc import Callable
from itertools import product

import pandas as pd

SAME = {"same_id": "image", "same_bytes": "bytes_sha256", "same_pixels": "pixels_sha256"}
"""Ways to be the same image, and the column of the index that tells."""


def duplicates_table(index: pd.DataFrame, links: pd.DataFrame) -> pd.DataFrame:
    """Count the images of each edition that have a duplicate in each edition.

    Args:
        index: table with `id`, `edition`, `image`, the digests, and `duplicate_of`.
        links: pairs `first`, `second` of ids, and `kind`, of `meddiff.data.duplicates`.

    Returns:
        One row for each ordered pair of editions: `edition`, `again_in`, `images` of the edition,
        `duplicates`, how many of them have another row in `again_in` with the same photograph, and
        of these those found by the same id, bytes or pixels, by the archive's own list
        (`official`), and by their looks alone (`near`).
    """
    ways = {name: _keyed(index[column]) for name, column in SAME.items() if column in index}
    ways["official"] = _listed(index, links[links["kind"] == "official"])
    photograph = _keyed(index["duplicate_of"].fillna(index["id"]))
    editions = sorted(index["edition"].unique())
    rows = [_count(index, *pair, photograph, ways) for pair in product(editions, editions)]
    return pd.DataFrame(rows)


Partners = Callable[[pd.DataFrame, pd.DataFrame], pd.Series]
"""Tells which of some rows have a partner, other than themselves, among other rows."""


def _count(
    index: pd.DataFrame, edition: str, other: str, photograph: Partners, ways: dict[str, Partners]
) -> dict[str, object]:
    here, there = (index[index["edition"] == name] for name in (edition, other))
    repeated = photograph(here, there)
    told = {name: partners(here, there) & repeated for name, partners in ways.items()}
    near = repeated & ~pd.DataFrame(told).any(axis=1)
    counts = {name: int(found.sum()) for name, found in (told | {"near": near}).items()}
    head = {"edition": edition, "again_in": other, "images": len(here)}
    return head | {"duplicates": int(repeated.sum())} | counts


def _keyed(keys: pd.Series) -> Partners:
    """Partners are rows with the same key."""

    def partners(here: pd.DataFrame, there: pd.DataFrame) -> pd.Series:
        sizes = keys[there.index].value_counts()
        own = keys[here.index].isin(keys[here.index.intersection(there.index)]).astype(int)
        return keys[here.index].map(sizes).fillna(0) > own

    return partners


def _listed(index: pd.DataFrame, pairs: pd.DataFrame) -> Partners:
    """Partners are rows of a pair."""
    both = pd.concat(
        [pairs[["first", "second"]], pairs.rename(columns={"first": "second", "second": "first"})]
    )

    def partners(here: pd.DataFrame, there: pd.DataFrame) -> pd.Series:
        found = both.loc[both["second"].isin(there["id"]), "first"]
        return here["id"].isin(found)

    return partners
