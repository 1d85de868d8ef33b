"""Rows of the scores of two image sets: distances, coverage, similarity."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from meddiff.core.progress import Progress
from meddiff.evaluation.compared import ALL, Compared
from meddiff.evaluation.distances import distance_rows
from meddiff.evaluation.matched import REFERENCE
from meddiff.evaluation.rows import interval
from meddiff.metrics.distances import distances_among
from meddiff.metrics.images import Images
from meddiff.metrics.inception import inception_interval
from meddiff.metrics.noise import noise_like
from meddiff.metrics.similarity import (
    PAIRS,
    SCALES,
    arithmetic_note,
    mean_of_pairs,
    options_of,
    pairs_of,
    window_of,
)

ENDS = ("", "_ci_low", "_ci_high")
SCORE = [f"{name}{end}" for name in ("matched", "score") for end in ENDS]
COLUMNS = ["metric", "class", "extractor", "value", "ci_low", "ci_high",
           *(f"{name}{end}" for name in ("floor", "ceiling") for end in ENDS), *SCORE, "n_real",
           "n_synthetic", "dimension", "note"]  # fmt: skip
SETS = ("real", "synthetic", "noise")
"""Sets whose features are compared."""


class FeatureExtractor(Protocol):
    """A net that gives features: `meddiff.load_extractor`, or anything with these members."""

    @property
    def metrics(self) -> Sequence[str]:
        """Metrics defined for this net alone: `cmmd`, or `inception_score`, which needs
        `probabilities`."""

    def features(self, images: np.ndarray, *, device: str = "cpu") -> np.ndarray:
        """Return features (n,d) of uint8 images (n,h,w,C)."""

    def probabilities(self, features: np.ndarray, *, device: str = "cpu") -> np.ndarray:
        """Return probabilities of classes (n,c) from features (n,d)."""


def noise_count(real: int, synthetic: int) -> int:
    """Return of how many images the ceiling is: no more are compared at once, as of the floor."""
    return max(2, min(synthetic, real // 2))


def is_standardised(extractor: FeatureExtractor) -> bool:
    """Return whether distances are of features standardised by the real images."""
    return getattr(extractor, "standardised", False)


def steps_of(extractors: Mapping[str, FeatureExtractor], compared: Compared) -> int:
    """Return how often the functions below advance their progress."""
    parts = len(compared.parts)
    features = sum(
        len(SETS) + len(SETS) * len(distances_among(net.metrics)) * parts
        for net in extractors.values()
    )
    return features + parts * len(compared.sets) * len(PAIRS)


@dataclass(frozen=True)
class Scorer:
    """Computes the rows of two image sets.

    Attributes:
        progress: is advanced as often as `steps_of` says.
    """

    compared: Compared
    n_resamples: int
    seed: int
    device: str
    progress: Progress

    def features(
        self, extractor: FeatureExtractor, computed: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Return the features of real and synthetic images and of noise, ordered as `compared`.

        Args:
            computed: features of sets in the caller's order, where they are at hand.
        """
        images = {key: each.images for key, each in self.compared.sets.items()}
        features = {}
        for key in SETS:
            if key in computed:
                features[key] = np.asarray(computed[key])
                if key in images:
                    features[key] = features[key][self.compared.orders[key]]
            else:
                shown = images[key] if key in images else self._noise()
                features[key] = extractor.features(shown, device=self.device)
            self.progress.advance()
        return _standardised(features) if is_standardised(extractor) else features

    def feature_rows(
        self, name: str, extractor: FeatureExtractor, features: Mapping[str, np.ndarray]
    ) -> Iterator[dict[str, Any]]:
        """Yield distances between floor and ceiling, PRDC, and the Inception Score.

        Args:
            features: those that `features` returns.
        """
        common = {"extractor": name, "dimension": features["real"].shape[1]}
        for parts in ([ALL], [part for part in self.compared.parts if part != ALL]):
            if not parts:
                continue
            by_set = self._by_class(features, parts)
            table = distance_rows(
                name,
                by_set["real"],
                {key: by_set[key] for key in ("synthetic", "noise")},
                metrics=extractor.metrics,
                groups={
                    key: {part: self.compared.groups(image_set, part) for part in parts}
                    for key, image_set in ((REFERENCE, "real"), ("synthetic", "synthetic"))
                },
                n_resamples=self.n_resamples,
                seed=self.seed,
                progress=self.progress.advance,
            )
            for _, rows in table.groupby(["class", "metric"], sort=False):
                first = rows.iloc[0]
                yield {"metric": first["metric"], "class": first["class"], **common,
                       **_between_ends(rows.set_index("image_set"))}  # fmt: skip
        if "inception_score" in extractor.metrics:
            probabilities = extractor.probabilities(features["synthetic"], device=self.device)
            score = inception_interval(probabilities, n_resamples=self.n_resamples, seed=self.seed)
            yield {"metric": "inception_score", "class": ALL, **common, **interval(score),
                   "n_synthetic": len(probabilities)}  # fmt: skip

    def similarity_rows(self, pairs: Mapping[str, Images], most: int) -> Iterator[dict[str, Any]]:
        """Yield means over pairs within each set: above that of real images, variety is lacking.

        Args:
            pairs: the first images of a set at another size, to take in place of its own.
            most: images of a set that are taken, and of all classes together for their rows.
        """
        for part, places in self.compared.parts.items():
            count = most if part == ALL else max(2, most // (len(self.compared.parts) - 1))
            for image_set, chosen in places.items():
                images = pairs.get(image_set, self.compared.sets[image_set].images)
                # Places are in order: the first ones are among those at hand.
                count = min(count, int(np.searchsorted(chosen, len(images))))
                images, groups = images[chosen[:count]], self.compared.groups(image_set, part)
                for metric, values in self._pairs(images):
                    mean = mean_of_pairs(
                        values, self.n_resamples, self.seed, groups and groups[:count]
                    )
                    note = arithmetic_note(metric, self.device)
                    yield {"metric": f"{metric} within {image_set}", "class": part,
                           **interval(mean), f"n_{image_set}": len(images),
                           **({"note": note} if note else {})}  # fmt: skip

    def _pairs(self, images: Images) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the values of all pairs by metric, where images are not too small."""
        for metric in PAIRS:
            self.progress.advance()
            size = min(images.shape[1:3])
            windows = {name: {"kernel_size": window_of(name, size)} for name in SCALES}
            values = pairs_of(metric, images, options_of(metric, windows, self.device))
            if len(values):
                yield metric, values

    def _noise(self) -> Images:
        real, synthetic = (self.compared.sets[key].images for key in ("real", "synthetic"))
        count = noise_count(len(real), len(synthetic))
        return noise_like(real, count, seed=self.seed, name="evaluate")

    def _by_class(
        self, features: Mapping[str, np.ndarray], parts: Sequence[str]
    ) -> dict[str, dict[str, np.ndarray]]:
        """Return features by set and class, of noise those of `noise_count` images."""
        by_set: dict[str, dict[str, np.ndarray]] = {key: {} for key in SETS}
        start = 0
        for part in parts:
            for key, places in self.compared.parts[part].items():
                by_set[key][part] = features[key][places]
            count = noise_count(*(len(by_set[key][part]) for key in ("real", "synthetic")))
            by_set["noise"][part] = features["noise"][start : start + count]
            start += count
        return by_set


def _standardised(features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Divide features (n,d) by their deviation in the real images.

    Large multiples of it count by their logarithm (the inverse hyperbolic sine), else noise, whose
    textures lie hundreds of deviations away, would make all images alike on the scale of scores.
    Features that are the same in all real images do not count.
    """
    real = features["real"].astype(np.float64)
    mean, deviation = real.mean(axis=0), real.std(axis=0)
    varies = deviation > 1e-9 * np.abs(mean)
    scale = np.where(varies, 1 / np.where(varies, deviation, 1), 0)
    return {key: np.arcsinh((rows - mean) * scale) for key, rows in features.items()}


def _between_ends(by_set: pd.DataFrame) -> dict[str, Any]:
    """Return the row of the synthetic images, with the values of real ones and of noise."""
    own = ["value", "ci_low", "ci_high", *SCORE, "n_real", "n_synthetic", "note"]
    row: dict[str, Any] = dict(by_set.reindex(columns=own).loc["synthetic"])
    for name, image_set in (("floor", "real"), ("ceiling", "noise")):
        if image_set in by_set.index:
            values = by_set.loc[image_set, ["value", "ci_low", "ci_high"]]
            row |= zip((f"{name}{end}" for end in ENDS), values, strict=True)
    return row
