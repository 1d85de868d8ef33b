"""U-Net (Ronneberger et al. 2015) that segments lesions; its encoder gives features."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from meddiff.extractors.supervised import to_unit_range


class UNet(nn.Module):
    """Encoder and decoder with skip connections; one logit per pixel.

    Args:
        channels: channels of each level; every further level halves the resolution.
        size: side of the images in px, a multiple of 2 ** (levels - 1).
    """

    transform = staticmethod(to_unit_range)

    def __init__(self, channels: list[int], size: int) -> None:
        super().__init__()
        self.dimension = channels[-1] * (size // 2 ** (len(channels) - 1)) ** 2
        pairs = list(zip([3, *channels[:-1]], channels, strict=True))
        self.down = nn.ModuleList(_double_convolution(i, o) for i, o in pairs)
        self.pool = nn.MaxPool2d(2)
        upwards = list(zip(channels[:0:-1], channels[-2::-1], strict=True))
        self.rise = nn.ModuleList(nn.ConvTranspose2d(i, o, 2, stride=2) for i, o in upwards)
        self.up = nn.ModuleList(_double_convolution(2 * o, o) for _, o in upwards)
        self.last = nn.Conv2d(channels[0], 1, 1)

    def features(self, batch: Tensor) -> Tensor:
        """Return the flattened encoder output, (N, dimension): 16,384-d at 64 px."""
        return self._encode(batch)[-1].flatten(1)

    def forward(self, batch: Tensor) -> Tensor:
        """Return logits of the lesion, (N,1,H,W)."""
        *skips, deepest = self._encode(batch)
        for rise, up, skip in zip(self.rise, self.up, reversed(skips), strict=True):
            deepest = up(torch.cat([rise(deepest), skip], dim=1))
        return self.last(deepest)

    def _encode(self, batch: Tensor) -> list[Tensor]:
        levels: list[Tensor] = []
        for down in self.down:
            batch = down(self.pool(levels[-1]) if levels else batch)
            levels.append(batch)
        return levels


def build(metadata: Mapping[str, Any], weights: Mapping[str, Tensor]) -> UNet:
    """Return a trained net; `metadata` holds its channels and the size of its images."""
    network = UNet(metadata["channels"], metadata["size"])
    network.load_state_dict(weights)
    return network


def _double_convolution(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(),
    )  # fmt: skip
