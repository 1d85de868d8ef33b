"""An extractor: a net, its preprocessing, and the features they give.

The net is a module of torch with

- `transform`, from uint8 (N,H,W,1 or 3) to the net's input;
- `features`, from that to (N, dimension), and `dimension`;
- `side`, if its `transform` takes images of any size to that side in px;
- `trained_size`, if it does not, but learnt from images of that side;
- `block`, if its batches are smaller than `BLOCK`;
- `standardised`, if distances are of features standardised by the real images;
- `classify`, if it is a classifier: from features to logits.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import softmax
from torch import Tensor, nn

from meddiff.core.checkpoints import NAME_ANOTHER, load_checkpoint
from meddiff.core.errors import MeddiffError, one_line
from meddiff.core.file_errors import remedy
from meddiff.core.files import sha256_file
from meddiff.extractors.names import CAUTIONS, METRICS_OF, PRETRAINED, module_of
from meddiff.extractors.supervised import predict

BLOCK = 64
"""Batch size; the last bits of features depend on it."""
USUAL_SIZE = 64
"""Side in px that images are reduced to for a net that states none."""


@dataclass(frozen=True)
class Extractor:
    """Features of images.

    An image's features depend, bit for bit, on the image and on its place in a block of fixed size,
    never on how many other images there are or what they show: `features(images)[:k]` is
    `features(images[:k])` for every k, and so is any part that begins at a multiple of the block.
    Elsewhere, on another device or another number of threads they differ by rounding.

    Attributes:
        network: the net, as above.
        size: side in px of the images that it takes; None if it takes any.
        digest: SHA-256 of the file that holds its weights.
        weights: which weights these are, in words.
    """

    name: str
    network: nn.Module
    size: int | None
    digest: str
    weights: str

    @property
    def dimension(self) -> int:
        """Number of features of an image."""
        network: Any = self.network
        return int(network.dimension)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics that are defined for this net alone, e.g. `cmmd` of CLIP."""
        metrics = METRICS_OF.get(self.name, ())
        unclassified = getattr(self.network, "classify", None) is None
        return tuple(each for each in metrics if each != "inception_score" or not unclassified)

    @property
    def caution(self) -> str:
        """A caution about the numbers of this net, if any."""
        return CAUTIONS.get(self.name, "")

    @property
    def standardised(self) -> bool:
        """Whether distances are of features standardised by the real images."""
        return bool(getattr(self.network, "standardised", False))

    @property
    def side(self) -> int | None:
        """Px that the net itself brings images of any size to; None if it does not."""
        return getattr(self.network, "side", None)

    @property
    def reduced_size(self) -> int:
        """Px that files have to be reduced to for a net without `side`."""
        return self.size or int(getattr(self.network, "trained_size", USUAL_SIZE))

    def features(self, images: np.ndarray, *, device: str = "cpu") -> np.ndarray:
        """Return float32 (N, dimension) of uint8 images (N,H,W,3), or grey ones (N,H,W,1).

        Raises:
            MeddiffError: the images are of another size than the net was built for, or neither
                grey nor RGB.
        """
        *sides, channels = images.shape[1:]
        if channels not in (1, 3):
            raise MeddiffError(
                f"the extractor {self.name} takes grey or RGB images and got {channels} channels"
            )
        images = np.broadcast_to(images, (*images.shape[:3], 3))
        if self.size is not None and sides != [self.size, self.size]:
            raise MeddiffError(
                f"the extractor {self.name} was trained on images of {self.size} px and got "
                f"{sides[0]} x {sides[1]} px: give it images of {self.size} px, or train it on "
                "images of that size"
            )
        network: Any = self.network
        return self._apply(network.features, network.transform, images, device)

    def features_of_each(
        self, images: Iterable[np.ndarray], *, device: str = "cpu"
    ) -> Iterator[np.ndarray]:
        """Yield the features, float32 (dimension,), of uint8 images (h,w,1 or 3) of any sizes.

        One image is in memory at a time, beside a block of them at the net's side. Each of a net
        with `side`, or of its `size`.
        """
        network: Any = self.network
        prepared = (network.transform(torch.from_numpy(each[None])) for each in images)
        while block := list(islice(prepared, getattr(network, "block", BLOCK))):
            batch = torch.cat(block).numpy()
            yield from self._apply(network.features, nn.Identity(), batch, device)

    def logits(self, features: np.ndarray, *, device: str = "cpu") -> np.ndarray:
        """Return float32 (N, classes) of features (N, dimension).

        Raises:
            MeddiffError: the net is no classifier.
        """
        classify = getattr(self.network, "classify", None)
        if classify is None:
            raise MeddiffError(f"the extractor {self.name} is no classifier: take inception")
        return self._apply(classify, nn.Identity(), features, device)

    def probabilities(self, features: np.ndarray, *, device: str = "cpu") -> np.ndarray:
        """Return the softmax of `logits`, float64 (N, classes): rows sum to 1."""
        rows: np.ndarray = softmax(self.logits(features, device=device).astype(float), axis=1)
        return rows

    def _apply(
        self,
        function: Callable[[Tensor], Tensor],
        transform: Callable[[Tensor], Tensor],
        inputs: np.ndarray,
        device: str,
    ) -> np.ndarray:
        network: Any = self.network.to(device)
        tensor = torch.from_numpy(np.array(inputs))
        block = getattr(network, "block", BLOCK)
        return predict(
            network, function, transform, tensor, device=device, batch_size=block, padded=True
        ).numpy()


def read_extractor(path: str | Path) -> Extractor:
    """Return an extractor; its checkpoint's metadata name it and what it is built from.

    Raises:
        MeddiffError: the file holds no extractor, or a package that it needs is not installed.
    """
    weights, metadata = load_checkpoint(path)
    if "extractor" not in metadata:
        raise MeddiffError(f"{path} holds no extractor: {NAME_ANOTHER}")
    name = metadata["extractor"]
    network = build_network(metadata, weights, str(path), remedy(path, NAME_ANOTHER))
    note = metadata.get("weights", "trained by this workflow")
    return Extractor(name, network, metadata.get("size"), sha256_file(path), note)


def extractor_of(name: str, network: nn.Module, weights: Path) -> Extractor:
    """Return the extractor of a net that has been built from a file of weights."""
    digest = sha256_file(weights)
    line = f"{name} ({weights.name}, SHA-256 {digest[:16]})"
    return Extractor(name, network.eval(), None, digest, line)


def build_network(
    metadata: Mapping[str, Any], weights: Mapping[str, Tensor], where: str, remedy: str
) -> nn.Module:
    """Return an extractor's net with its weights, a state dict; `where` and `remedy` are of errors.

    Args:
        metadata: the extractor's name as `extractor`, and what else a trained one is built from.

    Raises:
        MeddiffError: the weights are those of another net, or a package is not installed.
    """
    name = metadata["extractor"]
    module = module_of(name)
    try:
        arguments = (weights,) if name in PRETRAINED else (metadata, weights)
        network: nn.Module = module.build(*arguments)
    # Libraries raise what they like for the weights of another net.
    except Exception as error:
        reason = one_line(error, 300)
        raise MeddiffError(f"{where} holds no weights of {name} ({reason}): {remedy}") from error
    return network.eval()
