"""The U-Net that segments lesions (ISIC 2016), and how well it does."""

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from meddiff.extractors.settings import UNetSettings
from meddiff.extractors.supervised import Examples, Objective, fit, predict, seeded
from meddiff.extractors.unet import UNet

THRESHOLD = 0.5

Masked = tuple[np.ndarray, np.ndarray]
"""Images uint8 (N,H,W,1 or 3) and masks uint8 (N,H,W,1), 0 outside the lesion and 255 inside."""


def segmentation_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean squared error on the sigmoid map, as the study trained its U-Net."""
    return nn.functional.mse_loss(torch.sigmoid(logits), masks)


def train_unet(
    training: Masked, validation: Masked, settings: UNetSettings, *, seed: int, device: str = "cpu"
) -> tuple[UNet, pd.DataFrame]:
    """Train the U-Net; return it with its history, which has the validation's loss and mean Dice.

    The seed fixes weights and order.
    """
    network = seeded(lambda: UNet(settings.channels, training[0].shape[1]), seed, "unet")
    history = fit(
        network,
        Objective(UNet.transform, segmentation_loss, _mean_dice),
        _examples(training),
        settings,
        seed=seed,
        name="unet",
        validation=_examples(validation),
        device=device,
    )
    return network, history


def lesion_maps(network: UNet, images: np.ndarray, *, device: str = "cpu") -> Tensor:
    """Return the probability of a lesion at each pixel, float32 (N,1,H,W) in [0, 1].

    Images are uint8 (N,H,W,1 or 3).
    """
    inputs = torch.from_numpy(np.array(images))
    return torch.sigmoid(predict(network, network, UNet.transform, inputs, device=device))


def map_scores(maps: Tensor, masks: np.ndarray) -> pd.DataFrame:
    """Return one row per map: dice and iou of the lesion, and mse of the map, all in [0, 1].

    Args:
        maps: float32 (N,1,H,W) in [0, 1]; a lesion is where they reach `THRESHOLD`.
        masks: uint8 (N,H,W,1), 0 outside the lesion and 255 inside.
    """
    return _scores(maps, _targets(masks))


def segmentation_scores(
    network: UNet, images: np.ndarray, masks: np.ndarray, *, device: str = "cpu"
) -> pd.DataFrame:
    """Return the scores of `map_scores`, one row per test image."""
    return map_scores(lesion_maps(network, images, device=device), masks)


def _scores(maps: Tensor, truth: Tensor) -> pd.DataFrame:
    predicted, lesion = (maps >= THRESHOLD).flatten(1), (truth >= THRESHOLD).flatten(1)
    both = (predicted & lesion).sum(1).double()
    either = (predicted | lesion).sum(1).double()
    empty = either == 0
    return pd.DataFrame(
        {
            "dice": torch.where(empty, 1.0, 2 * both / (either + both).clamp(min=1)).numpy(),
            "iou": torch.where(empty, 1.0, both / either.clamp(min=1)).numpy(),
            "mse": ((maps - truth) ** 2).flatten(1).mean(1).numpy(),
        }
    )


def _mean_dice(logits: Tensor, masks: Tensor) -> dict[str, float]:
    return {"validation_dice": float(_scores(torch.sigmoid(logits), masks)["dice"].mean())}


def _examples(masked: Masked) -> Examples:
    images, masks = masked
    return Examples(torch.from_numpy(np.array(images)), _targets(masks))


def _targets(masks: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(masks)).permute(0, 3, 1, 2).float() / 255
