"""The image sets of one class with their reference, and the parts of them that are compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from meddiff.metrics.features import Array, checked
from meddiff.metrics.groups import Groups, number_groups
from meddiff.metrics.images import random_places
from meddiff.metrics.intervals import order_by_contents
from meddiff.metrics.parts import Parts, match_sizes

REFERENCE = "reference"


@dataclass(frozen=True)
class MatchedSets:
    """The image sets of one class and their reference, and parts of one size.

    Attributes:
        sets: features (n, d) of each image set, in an order that they alone decide.
        reference: those of the reference.
        groups: number of each image's group by set, the reference among them.
        parts: which images of the sets count together.
    """

    sets: Mapping[str, Array]
    reference: Array
    groups: Mapping[str, Groups]
    parts: Parts

    @classmethod
    def of(
        cls,
        name: str,
        features: Mapping[str, np.ndarray],
        names: Mapping[str, Sequence[object] | None],
        n_resamples: int,
        seed: int,
    ) -> "MatchedSets":
        """Check and order features (n, d) of one class by set, and draw their parts.

        Args:
            name: of the class, for errors.
            features: by set, the reference among them.
            names: group of each image of a set, (n,); none where images stand alone.
        """
        sets, groups = {}, {}
        for key, rows in features.items():
            what = REFERENCE if key == REFERENCE else f"{key} images"
            array = checked("distances", f"{what} of {name}", rows)
            order = order_by_contents(array)
            sets[key] = array[order]
            of_set = names.get(key)
            groups[key] = number_groups(None if of_set is None else np.asarray(of_set)[order])
        return cls._matched(sets, groups, n_resamples, seed)

    @classmethod
    def _matched(
        cls, sets: Mapping[str, Array], groups: Mapping[str, Groups], n_resamples: int, seed: int
    ) -> "MatchedSets":
        others = {key: features for key, features in sets.items() if key != REFERENCE}
        parts = match_sizes(
            {key: len(features) for key, features in others.items()},
            len(sets[REFERENCE]),
            n_resamples=n_resamples,
            seed=seed,
            groups=groups,
        )
        return cls(others, sets[REFERENCE], groups, parts)

    def sizes(self, image_set: str) -> tuple[int, int]:
        """Images of a part of a set, and of the reference that it is compared with."""
        return self.parts.sizes[image_set], self.parts.sizes[REFERENCE]

    def groups_of(self, image_set: str) -> dict[str, Groups]:
        """Groups of a set and of the reference, as `distance_at` takes them."""
        return {"one": self.groups.get(image_set), REFERENCE: self.groups[REFERENCE]}

    def without_noise(self, most: int, n_resamples: int, seed: int) -> "MatchedSets":
        """Return the sets but noise, of `most` random images each at most."""
        sets, groups = {}, {}
        for key, features in {**self.sets, REFERENCE: self.reference}.items():
            if key == "noise":
                continue
            chosen = random_places(len(features), most, seed, "among neighbours")
            of_set = self.groups.get(key)
            sets[key] = features[chosen]
            groups[key] = number_groups(None if of_set is None else of_set[chosen])
        return self._matched(sets, groups, n_resamples, seed)
