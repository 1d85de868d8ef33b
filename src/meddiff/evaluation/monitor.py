"""Scores of a generator while it learns, as an object that a training loop calls."""

from typing import Any

import numpy as np

from meddiff.core.errors import MeddiffError
from meddiff.evaluation.neighbours import NEIGHBOURS
from meddiff.evaluation.scores import FeatureExtractor
from meddiff.metrics.distances import MEASURES, distances_among
from meddiff.metrics.features import checked_pair
from meddiff.metrics.images import Images
from meddiff.metrics.intervals import rows_by_contents
from meddiff.metrics.precision_recall import prdc


class ImageQuality:
    """FID, KID, precision, recall, density and coverage, of images that come in batches.

    Used as a metric of torchmetrics is: `update`, `compute`, `reset`. Features are kept, images are
    not. The real images' features stay when it is reset, since they do not change while a generator
    learns. FID and KID are the values of `meddiff.evaluate`, the others are of all images, not of
    matched numbers of them. None depends on batches or on the order of images beyond rounding, and
    torch's random numbers are left alone.

    Args:
        extractor: a net that gives features, `meddiff.load_extractor`.
        device: torch device of the net.
    """

    def __init__(self, extractor: FeatureExtractor, *, device: str = "cpu") -> None:
        self._extractor, self._device = extractor, device
        self._features: dict[bool, list[np.ndarray]] = {True: [], False: []}

    def update(self, images: Any, real: bool) -> None:
        """Add a batch.

        Args:
            images: uint8 array (n,h,w,C), or a torch tensor (n,C,h,w), uint8 or float in [0, 1]; C
                is 1 or 3.
            real: whether they are real images.

        Raises:
            MeddiffError: the images are of another shape or type.
        """
        batch = _as_images(images)
        if len(batch):
            self._features[real].append(
                np.asarray(self._extractor.features(batch, device=self._device))
            )

    def compute(self) -> dict[str, float]:
        """Return the scores of all synthetic images so far beside all real ones, by name.

        Raises:
            MeddiffError: either has fewer than 2 images.
        """
        counts = {real: sum(map(len, parts)) for real, parts in self._features.items()}
        if min(counts.values()) < 2:
            raise MeddiffError(
                f"scores of {counts[True]} real and {counts[False]} synthetic images: update with "
                "2 or more of each first"
            )
        real, synthetic = map(
            rows_by_contents,
            checked_pair(
                "scores",
                np.concatenate(self._features[True]),
                np.concatenate(self._features[False]),
                names=("real", "synthetic"),
            ),
        )
        values = {
            name: MEASURES[name].value(synthetic, real)
            for name in distances_among(self._extractor.metrics)
        }
        if min(counts.values()) > NEIGHBOURS:
            values |= vars(prdc(real, synthetic, neighbours=NEIGHBOURS))
        return values

    def reset(self, *, real: bool = False) -> None:
        """Forget the synthetic images, and the real ones where `real` is true."""
        self._features[False].clear()
        if real:
            self._features[True].clear()


def _as_images(images: Any) -> Images:
    """Return uint8 (n,h,w,C) of an array or a tensor."""
    if isinstance(images, np.ndarray):
        array = images
    elif hasattr(images, "detach"):
        array = np.moveaxis(images.detach().cpu().float().numpy(), 1, -1)
        if images.is_floating_point():
            # False for NaN, too.
            if array.size and not (array.min() >= 0 and array.max() <= 1):
                raise MeddiffError(
                    f"images are floats from {array.min():.3g} to {array.max():.3g}: give floats "
                    "in [0, 1], or uint8"
                )
            array = array * 255
        elif str(images.dtype) != "torch.uint8":
            raise MeddiffError(f"images are {images.dtype}: give uint8, or floats in [0, 1]")
        array = array.round().astype(np.uint8)
    else:
        raise MeddiffError(f"images are a {type(images).__name__}: give an array or a torch tensor")
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[-1] not in (1, 3):
        raise MeddiffError(
            f"images are {array.dtype} {array.shape}: give uint8 arrays (n, height, width, 1 or "
            "3), or tensors (n, 1 or 3, height, width)"
        )
    return array
