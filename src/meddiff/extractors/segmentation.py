"""The U-Net that segments lesions (ISIC 2016), and how well it does."""

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from meddiff.extractors.learning import Examples, fit, predict, seeded
from meddiff.extractors.settings import UNet as UNetSettings
from meddiff.extractors.unet import UNet


def segmentation_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean squared error on the sigmoid map, as the study trained its U-Net."""
    return nn.functional.mse_loss(torch.sigmoid(logits), masks)


def train_unet(
    images: np.ndarray,
    masks: np.ndarray,
    settings: UNetSettings,
    *,
    seed: int,
    device: str = "cpu",
) -> tuple[UNet, pd.DataFrame]:
    """Train the U-Net; return it with its history.

    Args:
        images: uint8 (N,H,W,3).
        masks: uint8 (N,H,W,1), 0 outside the lesion and 255 inside.
        settings: channels, length, batch size, learning rate.
        seed: fixes weights and order.
        device: torch device.
    """
    network = seeded(lambda: UNet(settings.channels, images.shape[1]), seed, "unet")
    examples = Examples(torch.from_numpy(np.array(images)), _targets(masks))
    history = fit(
        network,
        UNet.transform,
        segmentation_loss,
        examples,
        settings,
        seed=seed,
        name="unet",
        device=device,
    )
    return network, history


def segmentation_scores(
    network: UNet, images: np.ndarray, masks: np.ndarray, *, device: str = "cpu"
) -> pd.DataFrame:
    """Return one row a test image: dice, iou (at a threshold of 0.5) and mse of the sigmoid map."""
    inputs = torch.from_numpy(np.array(images))
    maps = torch.sigmoid(predict(network, network, UNet.transform, inputs, device=device))
    truth = _targets(masks)
    found, lesion = (maps >= 0.5).flatten(1), (truth >= 0.5).flatten(1)
    both = (found & lesion).sum(1).double()
    either = (found | lesion).sum(1).double()
    empty = either == 0
    return pd.DataFrame(
        {
            "dice": torch.where(empty, 1.0, 2 * both / (either + both).clamp(min=1)).numpy(),
            "iou": torch.where(empty, 1.0, both / either.clamp(min=1)).numpy(),
            "mse": ((maps - truth) ** 2).flatten(1).mean(1).numpy(),
        }
    )


def _targets(masks: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(masks)).permute(0, 3, 1, 2).float() / 255
