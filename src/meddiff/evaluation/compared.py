"""Two image sets that are compared: their order, classes and groups."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral

import numpy as np
import numpy.typing as npt

from meddiff.core.errors import MeddiffError
from meddiff.core.tables import OVER_CLASSES
from meddiff.data.image_sets import ImageSet
from meddiff.metrics.images import Images, places_by_contents
from meddiff.metrics.intervals import LEAST as MIN_HALVED

ALL = "all"
"""Stands for the class where a row is of all images."""
TAKEN = {ALL: "all classes", OVER_CLASSES: "a mean over classes"}
"""Names that no class may have, and what tables mean by them."""
LEAST_OF_CLASS = 8
"""Images of a class, in each set, from which it has rows of its own."""
PAIRED = 300
"""Images of 64 px of a set whose pairs SSIM takes; of larger ones fewer, since a pair takes as much
longer as it has more pixels."""
AnyImages = Images | ImageSet


@dataclass(frozen=True)
class Compared:
    """A real and a synthetic image set.

    Attributes:
        sets: real and synthetic images, in an order that their pixels alone decide.
        orders: place of each of them in the caller's set, (n,).
        classes: those that both sets have; none where they have no labels.
        few: of those, the ones that have too few images for rows of their own.
    """

    sets: Mapping[str, ImageSet]
    orders: Mapping[str, npt.NDArray[np.intp]]
    classes: tuple[str, ...]
    few: tuple[str, ...]

    @classmethod
    def of(cls, real: ImageSet, synthetic: ImageSet, seed: int) -> "Compared":
        """Order both sets and find their classes.

        Raises:
            MeddiffError: both sets have labels, and other ones.
        """
        sets = {"real": real, "synthetic": synthetic}
        orders = {key: places_by_contents(each.images, seed) for key, each in sets.items()}
        ordered = {key: each.take(orders[key]) for key, each in sets.items()}
        classes = classes_of(sets)
        few = tuple(
            name
            for name in classes
            if min((each.labels or ()).count(name) for each in sets.values()) < LEAST_OF_CLASS
        )
        return cls(ordered, orders, classes, few)

    @cached_property
    def parts(self) -> dict[str, dict[str, npt.NDArray[np.intp]]]:
        """Places of the images of each set by class: all, then those with rows of their own."""
        parts = {ALL: {key: np.arange(len(each)) for key, each in self.sets.items()}}
        for name in self.classes:
            if name not in self.few:
                parts[name] = {
                    key: np.flatnonzero(np.array(each.labels) == name)
                    for key, each in self.sets.items()
                }
        return parts

    def groups(self, image_set: str, part: str) -> list[str] | None:
        """Return the group of each image of a part, where there are groups."""
        groups = self.sets[image_set].groups
        if groups is None:
            return None
        return [groups[place] for place in self.parts[part][image_set]]

    @property
    def left_out(self) -> dict[str, str]:
        """Why classes have no rows, by class."""
        return {
            f"class {name}": f"class {name}: fewer than {LEAST_OF_CLASS} real or synthetic images: "
            "no rows of its own"
            for name in self.few
        }


def as_image_set(images: AnyImages) -> ImageSet:
    """Return images with their ids, labels and groups.

    Raises:
        MeddiffError: they are neither an image set nor a uint8 array (n,h,w,C).
    """
    return images if isinstance(images, ImageSet) else ImageSet(images)


def classes_of(sets: Mapping[str, ImageSet]) -> tuple[str, ...]:
    """Return the classes of sets, of which all or none have labels.

    Raises:
        MeddiffError: their classes differ, or one has a name that tables need.
    """
    labels = {key: sorted(set(each.labels)) for key, each in sets.items() if each.labels}
    if len(labels) < len(sets):
        return ()
    first, *others = labels.values()
    if any(names != first for names in others):
        listed = "; ".join(f"{key}: {', '.join(names)}" for key, names in labels.items())
        raise MeddiffError(f"sets differ in their classes ({listed}): name them alike in all")
    check_class_names(first, " and ".join(labels))
    return tuple(first) if len(first) > 1 else ()


def check_class_names(names: Iterable[str], where: object) -> None:
    """Refuse names of classes that stand for something else in tables.

    Raises:
        MeddiffError: there is one.
    """
    for name in sorted(TAKEN.keys() & set(names)):
        raise MeddiffError(
            f"{where}: a class is called {name}, which is the name of {TAKEN[name]} in tables: "
            "rename its folder or label"
        )


def check_sets(sets: Mapping[str, Images], **numbers: int) -> None:
    """Refuse numbers of images that are too small, and sets that differ.

    Raises:
        MeddiffError: a set has fewer than 2 images, sets differ in size or channels, or a number is
            no whole one or below 4.
    """
    for name, number in numbers.items():
        if not isinstance(number, Integral) or number < MIN_HALVED:
            raise MeddiffError(f"{name} is {number}: it must be a whole number, 4 or more")
    shape = sets["real"].shape[1:]
    for name, images in sets.items():
        if len(images) < 2:
            raise MeddiffError(f"{name} images: {len(images)}, but scores need 2 or more")
        if images.shape[1:] != shape:
            raise MeddiffError(
                f"real images are {shape} (height, width, channels), {name} ones "
                f"{images.shape[1:]}: pack both alike"
            )
