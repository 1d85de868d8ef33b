"""LPIPS: how far two images are apart in the features of a net (Zhang et al. 2018)."""

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from meddiff.core.checkpoints import load_checkpoint, wrong_checkpoint
from meddiff.core.imports import needing

Lpips = Callable[[Tensor, Tensor], Tensor]
"""Takes images (N,C,H,W) in [-1, 1], of one or three channels, twice; returns distances (N,)."""


def load_lpips(alexnet: str | Path, device: str | torch.device = "cpu") -> Lpips:
    """Return LPIPS, version 0.1, of ImageNet's AlexNet.

    Args:
        alexnet: checkpoint of torchvision's AlexNet; the weights of its features come with the
            package lpips.
        device: torch device.

    Raises:
        MeddiffError: the checkpoint is another net's, or the package lpips is not installed.
    """
    with needing("lpips", "diffusion.latent.perceptual_weight"):
        import lpips

    with warnings.catch_warnings():  # it calls torchvision by an older signature
        warnings.simplefilter("ignore", UserWarning)
        net = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    weights, _ = load_checkpoint(alexnet)
    try:
        for name, tensor in net.net.state_dict().items():
            _, number, kind = name.split(".")  # slice2.3.weight
            tensor.copy_(weights[f"features.{number}.{kind}"])
    except (KeyError, RuntimeError) as error:
        raise wrong_checkpoint(alexnet, "AlexNet", error) from error
    net.requires_grad_(False).eval().to(device)

    def distances(images: Tensor, others: Tensor) -> Tensor:
        result: Tensor = net(images.expand(-1, 3, -1, -1), others.expand(-1, 3, -1, -1))
        return result.flatten()

    return distances
