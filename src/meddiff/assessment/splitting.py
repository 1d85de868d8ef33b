"""Real images divided into those that classifiers learn from and those that they are tested on."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from meddiff.core.errors import MeddiffError
from meddiff.data.image_sets import ImageSet
from meddiff.data.splitting.split import split_leak_free
from meddiff.metrics.images import places_by_contents
from meddiff.metrics.nearest import close_pairs, nearest_others

ALONE: Mapping[str, float] = {"train": 0.55, "validation": 0.1, "test": 0.35}
"""Shares of the real images where they are tested on, too."""
WITH_UNSEEN: Mapping[str, float] = {"train": 0.85, "validation": 0.15}
"""The same where other real images are at hand to be tested on."""
LEAST_GROUPS = 12
"""Patients, or images that stand alone, that a class needs."""


@dataclass(frozen=True)
class RealSplit:
    """Real images by what they are for; no two parts share a group or nearly the same image.

    Attributes:
        train: what classifiers learn from.
        validation: what the leading classifier and thresholds are chosen on.
        test: what scores are of.
        duplicates: images that were left out since another is nearly the same.
        shared: unseen images that were left out since they share a group with others, or are nearly
            the same.
    """

    train: ImageSet
    validation: ImageSet
    test: ImageSet
    duplicates: int
    shared: int


def split_real(real: ImageSet, unseen: ImageSet | None, *, seed: int) -> RealSplit:
    """Split real images by group, before anything is trained.

    Images that are nearly the same count as of one group, and one of them stays. Which images a
    part takes depends on their pixels, not on their names or order, and they are in random order.

    Args:
        real: images with labels.
        unseen: real images that the generator has not learnt from: they are the test images then.

    Raises:
        MeddiffError: a class has too few images or groups.
    """
    sets = [real] if unseen is None else [real, unseen]
    whole, order = _ordered(sets, seed)
    is_unseen = np.repeat([False, True][: len(sets)], list(map(len, sets)))[order]
    table = _grouped(whole)
    own = table[~is_unseen]
    _check_groups(own)
    shares = ALONE if unseen is None else WITH_UNSEEN
    part = split_leak_free(own, fractions=shares, seed=seed).reindex(table.index)
    shared = 0
    if unseen is not None:
        seen = table["group"].isin(own["group"])
        shared = int((is_unseen & seen).sum())
        part[is_unseen & ~seen & table["duplicate_of"].isna()] = "test"
    merged = replace(whole, groups=tuple(table["group"]))
    parts = {
        name: merged.take(np.flatnonzero((part == name).fillna(False)))
        for name in ("train", "validation", "test")
    }
    _check_parts(parts, sorted(set(own["label"])), shared)
    return RealSplit(**parts, duplicates=int(own["duplicate_of"].notna().sum()), shared=shared)


def _ordered(sets: list[ImageSet], seed: int) -> tuple[ImageSet, npt.NDArray[np.intp]]:
    """Return all images as one set in a random order that their pixels decide, and that order.

    Names of groups say what is one patient within and between sets; images without one are alone.
    """
    labels = [label for each in sets for label in each.labels or ()]
    images = np.concatenate([each.images for each in sets])
    groups: list[str] = []
    for number, each in enumerate(sets):
        alone = (f"{number} {place}" for place in range(len(each)))
        groups += each.groups or alone
    order = places_by_contents(images, seed)
    ids = tuple(f"{place}" for place in range(len(images)))
    whole = ImageSet(images, ids, tuple(labels), tuple(groups))
    return whole.take(order), order


def _grouped(images: ImageSet) -> pd.DataFrame:
    """Return `id`, `label`, `group` and `duplicate_of` of images as `split_leak_free` takes them.

    Ids are places in the order of contents, so that names decide nothing.
    """
    ids = pd.Series([f"{place}" for place in range(len(images))], dtype="string")
    pairs = close_pairs(nearest_others(images.images))
    same = _components(len(images), pairs)
    first = pd.Series(ids).groupby(same).transform("first")
    _, numbers = np.unique(np.array(images.groups), return_inverse=True)
    leaders = np.unique(numbers, return_index=True)[1][numbers]
    group = _components(len(images), pairs, np.stack([np.arange(len(images)), leaders], axis=1))
    return pd.DataFrame(
        {
            "id": ids,
            "label": list(images.labels or ()),
            "group": pd.Series(group).map(str),
            "duplicate_of": first.mask(first == ids),
        }
    )


def _components(count: int, *pairs: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Number the components that pairs (k, 2) of so many images connect."""
    edges = np.concatenate(pairs)
    graph = coo_array((np.ones(len(edges)), edges.T), shape=(count, count))
    components: npt.NDArray[np.intp] = connected_components(graph, directed=False)[1]
    return components


def _check_parts(parts: Mapping[str, ImageSet], classes: Iterable[str], shared: int) -> None:
    """Refuse a part without images of a class."""
    for part, name in product(parts, classes):
        if name not in (parts[part].labels or ()):
            why = f", since {shared} unseen ones are REAL's, nearly so, or of its patients"
            raise MeddiffError(
                f"class {name}: no {part} images are left{why if shared else ''}: add images that "
                "differ from the others, of other patients or lesions"
            )


def _check_groups(table: pd.DataFrame) -> None:
    kept = table[table["duplicate_of"].isna()]
    for name, count in kept.groupby("label")["group"].nunique().items():
        if count < LEAST_GROUPS:
            images = Counter(kept["label"])[name]
            raise MeddiffError(
                f"class {name}: {images} real images of {count} patients or lesions, and --train "
                f"needs {LEAST_GROUPS} or more: add images, or leave the class out"
            )
