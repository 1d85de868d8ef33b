"""Image sets: pixels with ids, classes and groups."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meddiff.core.errors import MeddiffError


@dataclass(frozen=True)
class ImageSet:
    """Images with their ids, classes and groups: what scores are computed of.

    Attributes:
        images: uint8 (n,h,w,C), C is 1 or 3.
        ids: (n,) unique texts; empty: the images have none.
        labels: (n,) class of each image, or None.
        groups: (n,) patient, lesion or volume of each image, or None where unknown; an image
            without one (None, NaN) among others stands alone, under a name of its own.

    Raises:
        MeddiffError: the images are no such array, ids, labels or groups are not as many, an image
            has no label though others have, or an id comes twice.
    """

    images: NDArray[np.uint8]
    ids: tuple[str, ...] = ()
    labels: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_images(self.images)
        for name in ("ids", "labels", "groups"):
            values = getattr(self, name)
            if values is None or (name == "ids" and not len(values)):
                continue
            if len(values) != len(self.images):
                raise MeddiffError(
                    f"{name}: {len(values)} for {len(self.images)} images: give one for each"
                )
            object.__setattr__(self, name, tuple(self._named(name, values)))
        if len(set(self.ids)) < len(self.ids):
            raise MeddiffError("ids: one comes twice: give every image its own")

    def __len__(self) -> int:
        return len(self.images)

    def _named(self, name: str, values: Sequence[object]) -> Iterator[str]:
        """Yield values as text, with a name for each image that has no group."""
        missing = pd.isna(np.array(values, dtype=object))
        if name != "groups" and missing.any():
            raise MeddiffError(
                f"{name}: {missing.sum()} of {len(values)} images have none: give one for each, or "
                "leave those images out"
            )
        for place, (value, lacks) in enumerate(zip(values, missing, strict=True)):
            # By contents, since another set may have an image without a group at this place.
            yield f"alone {place} {crc32(self.images[place].tobytes())}" if lacks else str(value)

    def take(self, places: NDArray[np.intp]) -> "ImageSet":
        """Return the images at these places, in their order."""

        def at(values: tuple[str, ...] | None) -> tuple[str, ...] | None:
            return values and tuple(values[place] for place in places)

        return ImageSet(self.images[places], at(self.ids) or (), at(self.labels), at(self.groups))


def check_images(images: object) -> None:
    """Refuse what is no array of images.

    Raises:
        MeddiffError: it is not uint8 (n,h,w,C), C is 1 or 3.
    """
    if not isinstance(images, np.ndarray):
        raise MeddiffError(
            f"images are a {type(images).__name__}: give a uint8 array (n, height, width, 1 or 3), "
            "as meddiff.read_image_set returns of files, or a meddiff.ImageSet of one"
        )
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise MeddiffError(
            f"images are {images.dtype} {images.shape}: give a uint8 array (n, height, width, 1 or "
            "3)"
        )
