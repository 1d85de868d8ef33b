"""Which images of a user's set belong together: by a column, or by their names."""

import re
from collections import Counter
from collections.abc import Sequence

import pandas as pd

from meddiff.core.errors import MeddiffError, listing_error

NAMES = (r"^(.*?)[^/0-9]*\d+(?:\.[^./]*)?$", r"^(.*)/[^/]*$")
"""Patterns of names of several images of one patient: one with a counter, and a folder each."""
LEAST_GROUPS = 5
"""Fewer would be kinds of images."""
SHARED = 0.2
"""Share of images that share their group with others, from which files look grouped."""


def groups_by(rows: pd.DataFrame, by: str, where: object) -> pd.Series:
    """Return the group of each image.

    Args:
        rows: of `meddiff.data.listing.Listing`.
        by: name of a column; else a regular expression that is searched in `id`: its first bracket,
            or all that it matches, names the group.

    Raises:
        MeddiffError: the expression is none, does not match an image, or a cell is empty.
    """
    if by in rows:
        groups = rows[by]
        if (empty := groups.isna()).any():
            raise listing_error(
                f"{where}: column {by!r} is empty for {int(empty.sum())} of {len(rows)} images",
                list(rows["id"][empty]),
                "fill it in, or name another",
            )
        return groups.astype("string")
    try:
        pattern = re.compile(by)
    except re.error as error:
        raise MeddiffError(
            f"--groups {by}: neither a column of {where} ({', '.join(rows.columns)}) nor a regular "
            f"expression ({error})"
        ) from error
    matches = [pattern.search(name) for name in rows["id"]]
    if missing := [name for name, match in zip(rows["id"], matches, strict=True) if not match]:
        raise listing_error(
            f"--groups {by}: no column of {where} ({', '.join(rows.columns)}), and as a regular "
            f"expression without a match in {len(missing)} of {len(rows)} names",
            missing,
            "name a column, or write an expression whose first bracket is the patient",
        )
    which = 1 if pattern.groups else 0
    names = [match[which] or "" for match in matches if match]
    return pd.Series(names, rows.index, dtype="string")


def kinds_of(labels: pd.Series) -> list[str]:
    """Return the labels of folders, empty where there is none; all empty if each has a digit.

    Folders whose names are numbered are patients sooner than kinds of images.
    """
    names = labels.fillna("")
    numbered = names[names != ""].str.contains(r"\d").all()
    return [""] * len(names) if numbered else list(names)


def grouped_by_name(ids: Sequence[str], labels: Sequence[str] | None, where: object) -> str:
    """Say that names look as if several images were of one patient, or nothing.

    Args:
        ids: paths of images.
        labels: their classes, empty where unknown; a folder of that name groups no patients.
    """
    names = list(ids)
    if labels is not None:
        names = [
            re.sub(f"^(.*/)?{re.escape(label)}/", "", name) if label else name
            for name, label in zip(ids, labels, strict=True)
        ]
    for pattern in NAMES:
        matches = [re.match(pattern, name) for name in names]
        if not all(matches):
            continue
        counts = Counter(match[1] for match in matches if match)
        shared = sum(count for count in counts.values() if count > 1)
        if len(counts) >= LEAST_GROUPS and shared >= SHARED * len(ids):
            name, count = counts.most_common(1)[0]
            return (
                f"{where}: {shared} of {len(ids)} images look like several of one patient each, "
                f"e.g. {count} of {name or '/'}: the floor is too low then, scores are too harsh "
                f"and intervals too narrow: give --groups '{pattern}', or what names the patient"
            )
    return ""
