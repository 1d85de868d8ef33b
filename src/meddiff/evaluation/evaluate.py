"""Two sets of images scored against each other, of any origin: `meddiff evaluate`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import pandas as pd

from meddiff.core.errors import MeddiffError
from meddiff.core.progress import Progress
from meddiff.evaluation.distances import distance_rows
from meddiff.evaluation.rows import interval, memorisation_row
from meddiff.metrics.copies import Memorisation, find_copies
from meddiff.metrics.distances import distances_among
from meddiff.metrics.images import Images, places_by_contents
from meddiff.metrics.inception import inception_interval
from meddiff.metrics.intervals import LEAST as MIN_HALVED
from meddiff.metrics.noise import noise_like
from meddiff.metrics.similarity import PAIRS, SCALES, mean_of_pairs, pairs_of, too_small, window_of

ENDS = ("", "_ci_low", "_ci_high")
SCORE = [f"{name}{end}" for name in ("matched", "score") for end in ENDS]
COLUMNS = ["metric", "extractor", "value", "ci_low", "ci_high",
           *(f"{name}{end}" for name in ("floor", "ceiling") for end in ENDS), *SCORE, "n_real",
           "n_synthetic", "dimension", "note"]  # fmt: skip


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


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` returns.

    Attributes:
        scores: one row per metric and extractor. `value` with `ci_low` and `ci_high`; `floor` is
            the value of real images, `ceiling` that of noise and `matched` that of synthetic
            images, each of one number of images against as many others: half of the real ones
            against the rest, over random halves. `score` is where between floor (1) and ceiling (0)
            `matched` lies. All have the ends of a 95 % interval; what a metric has not is missing.
        left_out: by metric, why it has no row.
        memorisation: how close synthetic images come to real ones; None without unseen images.
    """

    scores: pd.DataFrame
    left_out: Mapping[str, str]
    memorisation: Memorisation | None

    def table(self) -> pd.DataFrame:
        """Return the scores without columns that are empty throughout."""
        return self.scores.dropna(axis="columns", how="all")

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data, for JSON."""
        rows = self.scores.astype(object)
        copies = self.memorisation
        return {
            "scores": rows.where(rows.notna(), None).to_dict("records"),
            "left_out": dict(self.left_out),
            "memorisation": copies
            and {**memorisation_row(copies), "nearest": copies.nearest.tolist()},
        }


def evaluate(
    real: Images,
    synthetic: Images,
    extractors: Mapping[str, FeatureExtractor] = MappingProxyType({}),
    *,
    unseen: Images | None = None,
    ssim_images: int = 500,
    n_resamples: int = 200,
    seed: int = 0,
    device: str = "cpu",
) -> Evaluation:
    """Return every score of synthetic images beside real ones.

    FID, KID, precision, recall, density and coverage per extractor, SSIM and MS-SSIM within each
    set, and copies where there are unseen images. docs/metrics.md says what each is. The order of
    images changes nothing but that of `memorisation.nearest`.

    Args:
        real: uint8 (n,h,w,C), what the synthetic images are to be like; C is 1 or 3.
        synthetic: uint8 (m,h,w,C).
        extractors: by name, nets whose features are compared; none for SSIM and copies alone.
        unseen: real images, uint8 (k,h,w,C), that the generator was not trained on, where it was on
            `real`: without them nothing can be said of copies.
        ssim_images: images of each set whose pairs SSIM and MS-SSIM take, chosen at random.
        n_resamples: random half-samples behind an interval.
        seed: fixes what is chosen at random.
        device: torch device of the extractors.

    Raises:
        MeddiffError: a set has fewer than 2 images, the sets differ in size or channels, or
            `ssim_images` or `n_resamples` is below 4.
    """
    sets = {"real": real, "synthetic": synthetic}
    optional = {} if unseen is None else {"unseen": unseen}
    _check({**sets, **optional}, ssim_images=ssim_images, n_resamples=n_resamples)
    copies = None if unseen is None else find_copies(real, synthetic, unseen)
    sets = {name: images[places_by_contents(images, seed)] for name, images in sets.items()}
    noise = noise_like(sets["real"], len(synthetic), seed=seed, name="evaluate")
    rows: list[dict[str, Any]] = []
    # Features of three sets, then each distance of as many.
    parts = sum(3 + 3 * len(distances_among(net.metrics)) for net in extractors.values())
    with Progress(parts + len(sets) * len(PAIRS), "evaluate", "part") as progress:
        for name, net in extractors.items():
            rows += _extractor_rows(
                name, net, {**sets, "noise": noise}, n_resamples, seed, device, progress
            )
        for name, images in sets.items():
            rows += _similarity_rows(name, images[:ssim_images], n_resamples, seed, progress)
    reasons = {metric: too_small(metric, min(real.shape[1:3])) for metric in PAIRS}
    return Evaluation(
        pd.DataFrame(rows).reindex(columns=COLUMNS),
        {metric: reason for metric, reason in reasons.items() if reason},
        copies,
    )


def _check(sets: Mapping[str, Images], **numbers: int) -> None:
    """Refuse numbers of images that are too small, and sets that differ."""
    for name, number in numbers.items():
        if not isinstance(number, Integral) or number < MIN_HALVED:
            raise MeddiffError(f"{name} is {number}: it must be a whole number, 4 or more")
    shape = sets["real"].shape[1:]
    for name, images in sets.items():
        if len(images) < 2:
            raise MeddiffError(f"{name} images: {len(images)}, but scores need 2 or more")
        if images.shape[1:] != shape:
            raise MeddiffError(
                f"real images are {shape} (height, width, channels), {name} ones "
                f"{images.shape[1:]}: pack both alike"
            )


def _extractor_rows(
    name: str,
    extractor: FeatureExtractor,
    sets: Mapping[str, Images],
    n_resamples: int,
    seed: int,
    device: str,
    progress: Progress,
) -> Iterator[dict[str, Any]]:
    """Yield distances between floor and ceiling, PRDC, and the Inception Score."""
    features = {}
    for image_set, images in sets.items():
        features[image_set] = extractor.features(images, device=device)
        progress.advance()
    common = {"extractor": name, "dimension": features["real"].shape[1]}
    table = distance_rows(
        name,
        {"all": features["real"]},
        {key: {"all": features[key]} for key in ("synthetic", "noise")},
        metrics=extractor.metrics,
        n_resamples=n_resamples,
        seed=seed,
        progress=progress.advance,
    ).set_index(["metric", "image_set"])
    for metric in table.index.get_level_values("metric").unique():
        yield {"metric": metric, **common, **_between_ends(table.loc[metric])}
    if "inception_score" in extractor.metrics:
        probabilities = extractor.probabilities(features["synthetic"], device=device)
        score = inception_interval(probabilities, n_resamples=n_resamples, seed=seed)
        yield {"metric": "inception_score", **common, **interval(score),
               "n_synthetic": len(probabilities)}  # fmt: skip


def _between_ends(by_set: pd.DataFrame) -> dict[str, Any]:
    """Return the row of the synthetic images, with the values of real ones and of noise."""
    own = ["value", "ci_low", "ci_high", *SCORE, "n_real", "n_synthetic", "note"]
    row: dict[str, Any] = dict(by_set.reindex(columns=own).loc["synthetic"])
    for name, image_set in (("floor", "real"), ("ceiling", "noise")):
        if image_set in by_set.index:
            values = by_set.loc[image_set, ["value", "ci_low", "ci_high"]]
            row |= zip((f"{name}{end}" for end in ENDS), values, strict=True)
    return row


def _similarity_rows(
    image_set: str, images: Images, n_resamples: int, seed: int, progress: Progress
) -> Iterator[dict[str, Any]]:
    """Yield means over pairs within one set: above that of real images, variety is lacking."""
    for metric in PAIRS:
        progress.advance()
        window = {"kernel_size": window_of(metric, min(images.shape[1:3]))}
        values = pairs_of(metric, images, window if metric in SCALES else {})
        if len(values):
            mean = mean_of_pairs(values, n_resamples, seed)
            yield {"metric": f"{metric} within {image_set}", **interval(mean),
                   f"n_{image_set}": len(images)}  # fmt: skip
