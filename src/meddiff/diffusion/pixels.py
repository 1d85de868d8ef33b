"""Ranges of pixels: as stored, and as nets see them."""

from collections.abc import Sequence

import torch
from torch import Tensor


def to_unit_range(images: Tensor) -> Tensor:
    """Map uint8 (N,H,W,C) to float32 (N,C,H,W) in [0, 1]."""
    return images.permute(0, 3, 1, 2).float() / 255


def to_model_range(unit: Tensor, pixel_range: Sequence[int]) -> Tensor:
    """Map [0, 1] to the net's range: (-1, 1), or (0, 1) as in the study."""
    low, high = pixel_range
    return unit * (high - low) + low


def to_uint8(images: Tensor, pixel_range: Sequence[int]) -> Tensor:
    """Map float (N,C,H,W) in the net's range to uint8 (N,H,W,C), clipped and rounded."""
    low, high = pixel_range
    unit = (images - low) / (high - low)
    return (unit.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
