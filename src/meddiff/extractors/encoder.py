"""Image encoders of timm, with the preprocessing that it states for their weights."""

from collections.abc import Callable, Mapping
from typing import Any

import timm
import torch
from timm.data import resolve_model_data_config
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

Convert = Callable[[dict[str, Tensor], nn.Module], dict[str, Tensor]]
"""From weights as their authors publish them to timm's, for a net."""


class Encoder(nn.Module):
    """A net of timm; features are what it gives for a whole image.

    Args:
        model: timm's name of net and weights.
        weights: as timm or who trained them publishes them; None leaves random ones, or what timm
            reads where `pretrained` is among the options.
        block: images that it sees at once.
        convert: makes `weights` those of the net.
        headless: take the classifier away once weights are read, every one of which must be there.
        options: further ones of timm's `create_model`.
    """

    def __init__(
        self,
        model: str,
        weights: Mapping[str, Tensor] | None,
        block: int,
        convert: Convert = checkpoint_filter_fn,
        headless: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self.block = block
        self.trunk = timm.create_model(model, **{"pretrained": False, **options})
        if weights is not None:
            self.trunk.load_state_dict(convert(dict(weights), self.trunk))
        if headless:
            self.trunk.reset_classifier(0)
        hidden = getattr(self.trunk, "head_hidden_size", self.trunk.num_features)
        self.dimension = self.trunk.num_classes or hidden
        stated = resolve_model_data_config(self.trunk)
        self.side = stated["input_size"][-1]
        self.mean, self.std = stated["mean"], stated["std"]
        self.interpolation = InterpolationMode(stated["interpolation"])

    def transform(self, images: Tensor) -> Tensor:
        """Map uint8 (N,H,W,1 or 3), squares of any size, to float32 (N,3,side,side), normalised."""
        colours = images.expand(-1, -1, -1, 3).permute(0, 3, 1, 2).contiguous()
        sides = [self.side, self.side]
        resized = functional.resize(colours, sides, self.interpolation, antialias=True)
        mean, std = (
            images.new_tensor(v, dtype=torch.float32).view(3, 1, 1) for v in (self.mean, self.std)
        )
        return (resized.float() / 255 - mean) / std

    def features(self, batch: Tensor) -> Tensor:
        """Return (N, dimension)."""
        embedding: Tensor = self.trunk(batch)
        return embedding
