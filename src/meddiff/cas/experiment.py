"""Classification accuracy score (Ravuri and Vinyals 2019): train on an arm, test on real images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from meddiff.cas.settings import Cas
from meddiff.data.labelled import balanced, stack
from meddiff.extractors.classification import predictions
from meddiff.extractors.skinlesnet import train_skinlesnet


@dataclass(frozen=True)
class Arm:
    """A training set: uint8 images (N,H,W,3) of each class, and how many are of which kind."""

    name: str
    images: list[np.ndarray]
    n_real: int
    n_synthetic: int


def build_arm(name: str, real: Sequence[np.ndarray], synthetic: Sequence[np.ndarray]) -> Arm:
    """Return the images to train on.

    Args:
        name: "real", "synthetic", or "mixed" (both together).
        real: uint8 (N,H,W,3) of each class, which are balanced first.
        synthetic: the same of each DDPM.
    """
    kinds = {"real": balanced(real), "synthetic": list(synthetic)}
    used = [images for kind, images in kinds.items() if name in (kind, "mixed")]
    counts = {k: sum(map(len, i)) if name in (k, "mixed") else 0 for k, i in kinds.items()}
    together = [np.concatenate(parts) for parts in zip(*used, strict=True)]
    return Arm(name, together, counts["real"], counts["synthetic"])


def run_arm(
    arm: Arm,
    validation: Sequence[np.ndarray],
    test: Sequence[np.ndarray],
    classes: Sequence[str],
    settings: Cas,
    *,
    seed: int,
    device: str = "cpu",
) -> pd.DataFrame:
    """Train SkinLesNet on an arm's images and return its predictions on the real test images.

    Args:
        arm: images to train on.
        validation: real images of each class, for the validation loss.
        test: real images of each class.
        classes: class names.
        settings: length, batch size, learning rate.
        seed: fixes weights, order and dropout.
        device: torch device.

    Returns:
        One row a test image: label, predicted, probabilities, and the arm's n_real and n_synthetic.
    """
    network, _ = train_skinlesnet(
        stack(arm.images),
        stack(validation),
        len(classes),
        settings,
        seed=seed,
        name=f"cas {arm.name}",
        device=device,
    )
    told = predictions(network, stack(test), classes, device=device)
    return told.assign(n_real=arm.n_real, n_synthetic=arm.n_synthetic)
