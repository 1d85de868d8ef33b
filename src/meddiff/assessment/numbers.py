"""Which numbers an evaluation will have, before it is made."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from meddiff.assessment.evaluate import evaluate
from meddiff.core.randomness import stream
from meddiff.data.image_sets import ImageSet
from meddiff.metrics.intervals import LEAST

AFFECTS_RESULTS = False

MOST, SIDE = 40, 32
"""Images of a set, and their side in px, that stand for more and larger ones."""


class ExtractorInfo(Protocol):
    """What is needed of an extractor: `meddiff.load_extractor`."""

    @property
    def metrics(self) -> Sequence[str]:
        """Metrics defined for this net alone."""

    @property
    def dimension(self) -> int:
        """Number of features of an image."""


@dataclass(frozen=True)
class _StandIn:
    """Contrast, brightness and zeros in place of the features of a net with the same metrics."""

    metrics: Sequence[str]
    dimension: int

    def features(self, images: np.ndarray, *, device: str = "cpu") -> np.ndarray:
        level = images.mean((1, 2, 3)) / 256
        features = np.zeros((len(images), max(2, self.dimension)))
        features[:, :2] = np.stack([images.std((1, 2, 3)) + level, level], axis=1)
        return features[:, : self.dimension]

    def probabilities(self, features: np.ndarray, *, device: str = "cpu") -> np.ndarray:
        return np.full((len(features), 2), 0.5)


def check_numbers(
    names: Collection[str],
    extractors: Mapping[str, ExtractorInfo],
    counts: Mapping[str, int],
    *,
    side: int | None,
    classes: bool,
) -> None:
    """Refuse names that are no number of such an evaluation: one of few small images has the same.

    Args:
        names: as of `meddiff.assessment.evaluate.Evaluation.number`.
        extractors: by name.
        counts: number of images of each set, `real` and `synthetic`.
        side: of the images in px, or None for their own.
        classes: whether the sets have classes.

    Raises:
        MeddiffError: one is none.
    """
    draw = stream(0, "numbers")
    sides = min(side or SIDE, SIDE)
    sets = {}
    for key, count in counts.items():
        # Plain ones, so that noise is far from them and there is a score.
        levels = draw.integers(0, 256, (min(count, MOST), 1, 1, 1), dtype=np.uint8)
        images = levels.repeat(sides, axis=1).repeat(sides, axis=2)
        labels = [str(2 * place // len(images)) for place in range(len(images))]
        sets[key] = ImageSet(images, labels=tuple(labels) if classes else None)
    # As many dimensions per image.
    share = min(1.0, MOST / min(counts.values()))
    nets = {
        name: _StandIn(each.metrics, max(1, int(each.dimension * share)))
        for name, each in extractors.items()
    }
    real, synthetic = sets["real"], sets["synthetic"]
    small = evaluate(real, synthetic, nets, ssim_images=LEAST, n_resamples=LEAST)
    for name in names:
        small.number(name)
