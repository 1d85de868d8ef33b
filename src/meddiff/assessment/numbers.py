"""Which numbers an evaluation will have, before it is made."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from meddiff.assessment.evaluate import evaluate
from meddiff.core.randomness import stream
from meddiff.data.image_sets import ImageSet
from meddiff.metrics.intervals import LEAST

AFFECTS_RESULTS = False

MOST, SIDE = 40, 32
"""Images of a set, and their side in px, that stand for more and larger ones."""


@dataclass(frozen=True)
class _StandIn:
    """Two features, brightness and contrast, in place of those of a net with the same metrics."""

    metrics: Sequence[str]

    def features(self, images: np.ndarray, *, device: str = "cpu") -> np.ndarray:
        return np.stack([images.mean((1, 2, 3)), images.std((1, 2, 3))], axis=1)

    def probabilities(self, features: np.ndarray, *, device: str = "cpu") -> np.ndarray:
        return np.full((len(features), 2), 0.5)


def check_numbers(
    names: Collection[str],
    metrics: Mapping[str, Sequence[str]],
    counts: Mapping[str, int],
    *,
    side: int | None,
    classes: bool,
) -> None:
    """Refuse names that are no number of such an evaluation: one of few small images has the same.

    Args:
        names: as of `meddiff.assessment.evaluate.Evaluation.number`.
        metrics: those of each extractor alone, by name.
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
    nets = {name: _StandIn(each) for name, each in metrics.items()}
    real, synthetic = sets["real"], sets["synthetic"]
    small = evaluate(real, synthetic, nets, ssim_images=LEAST, n_resamples=LEAST)
    for name in names:
        small.number(name)
