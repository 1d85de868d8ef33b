"""Random parts of image sets: what a number is of fewer images than there are.

Most metrics depend on how many images they are of, so that sets are compared at one number of
images. Which images those are is left neither to the order of a set nor to one draw: the number is
the mean over random parts, each of as many images, with the interval of that mean
(`meddiff.metrics.intervals`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from meddiff.core.randomness import stream
from meddiff.metrics.features import Array
from meddiff.metrics.groups import Groups, count_groups, largest_group, random_order, with_group
from meddiff.metrics.intervals import LEAST, half_samples

Weights = Mapping[str, Array]
"""By set, 1 for the images that count and 0 for the others, (r, n)."""

PARTS = 16
"""Parts that a number is the mean over."""
PARTS_AGAIN = 2
"""The same of each half-sample, or thinner set, behind an interval."""
THINNED = 0.75
"""Share of the images in a thinner set."""


@dataclass(frozen=True)
class Parts:
    """Which images of several sets count together, row by row.

    Attributes:
        sizes: images that count of each set.
        whole: of the sets as they are.
        halves: of their `half_samples`, row by row `again` parts of each; empty where a half has
            fewer than two images.
        thinned: of three quarters of their images at random, likewise.
        again: parts of each of those.
    """

    sizes: Mapping[str, int]
    whole: Weights
    halves: Weights
    thinned: Weights
    again: int


def draw_parts(
    sizes: Mapping[str, tuple[int, int]],
    *,
    rest: str | None = None,
    n_resamples: int,
    seed: int,
    groups: Mapping[str, Groups] = MappingProxyType({}),
) -> Parts:
    """Draw parts of several sets.

    Args:
        sizes: number of images of each set, and how many of them are to count.
        rest: name for what is left of the last set, which is a set of its own then. Images of a
            group of which some count are in neither, so that its size varies from part to part.
        groups: of the images of sets, by set; the images of a part are of as few as possible.
    """
    generator = stream(seed, "parts of image sets")
    images = [n for n, _ in sizes.values()]
    of_sets = [groups.get(key) for key in sizes]
    fixed = rest is None and all(n == size for n, size in sizes.values())
    again = 1 if fixed else PARTS_AGAIN

    def taken(members: Sequence[Array], share: Callable[[int], Sequence[int]]) -> Weights:
        weights = {}
        for (key, (_, size)), candidates, of_set in zip(
            sizes.items(), members, of_sets, strict=True
        ):
            counts = np.resize(share(size), len(candidates))
            weights[key] = _part(candidates, counts, generator, of_set)
        if rest is not None:
            weights[rest] = members[-1] * ~with_group(weights[key], of_set)
        return weights

    def repeated(members: Iterable[Array]) -> list[Array]:
        return [np.repeat(candidates, again, axis=0) for candidates in members]

    whole = taken([np.ones((1 if fixed else PARTS, n)) for n in images], lambda size: [size])
    counted = {key: int(weights.sum(axis=1).min()) for key, weights in whole.items()}
    if min(*counted.values(), *map(count_groups, of_sets, images)) < LEAST:
        return Parts(counted, whole, {}, {}, again)
    halves = half_samples(*images, n_resamples=n_resamples, seed=seed, groups=of_sets)
    # Halves of an odd number differ by one, and so do their parts.
    halved = taken(repeated(halves), lambda size: [size // 2] * again + [size - size // 2] * again)
    thinner = [
        _part(np.ones((n_resamples, n)), np.full(n_resamples, round(THINNED * n)), generator, own)
        for n, own in zip(images, of_sets, strict=True)
    ]
    thinned = taken(repeated(thinner), lambda size: [round(THINNED * size)])
    return Parts(counted, whole, halved, thinned, again)


def match_sizes(
    sets: Mapping[str, int],
    reference: int,
    *,
    n_resamples: int,
    seed: int,
    groups: Mapping[str, Groups] = MappingProxyType({}),
) -> Parts:
    """Draw parts of one size of all sets, compared with the reference.

    Args:
        sets: number of images of each set, "real" among them if unseen real images are at hand;
            else random parts of the reference, half of it at most, stand for them, and the others
            are compared with the rest, which shares no group with them.
        groups: of the images of sets and of the "reference", by set.

    Returns:
        Parts of all sets, "reference" and, unless it has fewer than `LEAST` images, "real".
    """
    size = min(sets.values(), default=reference)
    members = groups.get("reference")
    # Of a group that the part divides, no image is in the rest.
    usable = reference - largest_group(members) + 1
    if "real" in sets or usable < LEAST:
        sizes = {**{key: (n, size) for key, n in sets.items()}, "reference": (reference, reference)}
        return draw_parts(sizes, n_resamples=n_resamples, seed=seed, groups=groups)
    size = min(size, usable // 2)
    sizes = {**{key: (n, size) for key, n in sets.items()}, "real": (reference, size)}
    return draw_parts(
        sizes,
        rest="reference",
        n_resamples=n_resamples,
        seed=seed,
        groups={**groups, "real": members},
    )


def _part(
    members: Array, sizes: npt.NDArray[np.intp], generator: np.random.Generator, groups: Groups
) -> Array:
    """Draw so many of the images that are members, row by row."""
    lots = np.where(members > 0, random_order(groups, members.shape, generator), np.inf)
    drawn = lots.argsort(axis=1).argsort(axis=1) < sizes[:, None]
    return (drawn & (members > 0)).astype(np.float64)
