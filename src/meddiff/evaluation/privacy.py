"""What synthetic images, features and a DDPM itself betray of the training images, as rows."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from meddiff.core.arrays import load_array
from meddiff.core.progress import Progress
from meddiff.diffusion.sampling.ddpm import Ddpm
from meddiff.diffusion.sampling.membership import LEVELS, denoising_losses
from meddiff.evaluation.rows import PIXELS, memorisation_row
from meddiff.metrics.copies import Memorisation, find_changed_copies
from meddiff.metrics.images import random_places
from meddiff.metrics.membership_inference import membership

LOSS = "denoising loss"
"""What rows are by, beside pixels and features by the name of their extractor."""
SMALLEST = 1e-12
"""Loss below which losses are alike."""
MOST = 500
"""Images of a set whose losses are computed: a denoising takes as long as a step of sampling."""


def copies_rows(
    pixels: Memorisation, features: Mapping[str, Mapping[str, np.ndarray]], sizes: Mapping[str, int]
) -> Iterator[dict[str, Any]]:
    """Yield the row of the search for copies in pixels, then of that in each extractor's features.

    Args:
        features: by extractor and set (training, synthetic, unseen), (n,d).
        sizes: columns of the numbers of images.
    """
    yield {"by": PIXELS, **memorisation_row(pixels), **sizes}
    for name, sets in features.items():
        yield {"by": name, **memorisation_row(find_changed_copies(**sets)), **sizes}


def load_features(paths: Iterable[str | Path], name: str) -> dict[str, dict[str, np.ndarray]]:
    """Read a class's features, `features/<extractor>/<set>/<class>.npy`, by extractor and role.

    Sets but `synthetic` and `test`, whose images are unseen, are those that a DDPM learnt from.
    """
    parts: dict[str, dict[str, list[np.ndarray]]] = {}
    for path in map(Path, paths):
        if path.stem == name:
            extractor, image_set = path.parts[-3:-1]
            role = {"synthetic": "synthetic", "test": "unseen"}.get(image_set, "training")
            parts.setdefault(extractor, {}).setdefault(role, []).append(load_array(path))
    return {
        extractor: {role: np.concatenate(arrays) for role, arrays in roles.items()}
        for extractor, roles in parts.items()
    }


def membership_rows(
    model: Ddpm, training: np.ndarray, unseen: np.ndarray, *, n_resamples: int, seed: int, name: str
) -> Iterator[dict[str, Any]]:
    """Yield how well a DDPM's losses distinguish training images from unseen ones.

    One row per level of noise, then one of all levels together, the mean of an image's logarithms.

    Args:
        training: uint8 (n,H,W,C), images that it was trained on. 500 at most are taken, at most
            twice as many as unseen ones: more would hardly narrow an interval.
        unseen: uint8 (m,H,W,C), images of the same kind that it was not trained on; 500 at most.
    """
    sets = [
        images[random_places(len(images), most, seed, "membership")]
        for images, most in ((training, min(MOST, 2 * len(unseen))), (unseen, MOST))
    ]
    with Progress(sum(map(len, sets)), f"{name}: who was a member?", "image") as progress:
        members, others = (
            denoising_losses(model, images, seed=seed, name=name, progress=progress.advance)
            for images in sets
        )
    scores: dict[float, tuple[np.ndarray, np.ndarray]] = {
        level: (members[:, place], others[:, place]) for place, level in enumerate(LEVELS)
    }
    # A net that knows an image by heart has a loss of 0.
    logarithms = (np.log(np.maximum(losses, SMALLEST)).mean(axis=1) for losses in (members, others))
    scores[np.nan] = tuple(logarithms)
    sizes = {"n_training": len(members), "n_unseen": len(others)}
    for level, losses in scores.items():
        result = membership(*losses, n_resamples=n_resamples, seed=seed)
        row = {"by": LOSS, "noise_level": level, "p_value": result.p_value}
        ends = result.auc.columns("auc") | result.true_positives.columns("tpr")
        yield row | ends | sizes
