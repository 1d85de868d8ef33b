"""Every classifier by name: a new one is a module of this package, and an entry here.

Imports wait until a classifier is built, and are written out for the fingerprints of
`provenance`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meddiff.core.errors import MeddiffError

if TYPE_CHECKING:
    from torch import Tensor

    from meddiff.cas.base import Classifier
    from meddiff.cas.settings import CasSettings


@dataclass(frozen=True)
class BuildOptions:
    """What a classifier is built for.

    Attributes:
        classes: number of classes.
        size: side of the images in px.
        settings: of the experiment.
        imagenet: torchvision's weights of ResNet50, where its kind takes them and they can be had.
        threads: CPU threads.
        device: torch device.
    """

    classes: int
    size: int
    settings: "CasSettings"
    imagenet: "Mapping[str, Tensor] | None" = None
    threads: int = 1
    device: str = "cpu"


@dataclass(frozen=True)
class Kind:
    """A kind of classifier.

    Attributes:
        title: its name in texts.
        build: returns one to be trained.
        imagenet: whether it takes ImageNet's weights of ResNet50.
    """

    title: str
    build: "Callable[[BuildOptions], Classifier]"
    imagenet: bool = False


def _skinlesnet(options: BuildOptions) -> "Classifier":
    from meddiff.cas.nets import skinlesnet

    return skinlesnet(options.classes, options.size, options.settings, options.device)


def _resnet50(options: BuildOptions) -> "Classifier":
    from meddiff.cas.nets import resnet50

    return resnet50(options.classes, options.imagenet, options.settings, options.device)


def _hog_svm(options: BuildOptions) -> "Classifier":
    from meddiff.cas.hog import HogSvm

    return HogSvm(options.settings.hog_svm, options.threads)


KINDS: dict[str, Kind] = {
    "skinlesnet": Kind("SkinLesNet", _skinlesnet),
    "resnet50": Kind("ResNet50", _resnet50, imagenet=True),
    "hog_svm": Kind("HOG and SVM", _hog_svm),
}
HOG_SVM = "hog_svm"
"""Has a table of its own; `cas.classifiers` names others."""


def build_classifier(name: str, options: BuildOptions) -> "Classifier":
    """Return a classifier to be trained.

    Raises:
        MeddiffError: there is no such classifier.
    """
    if name not in KINDS:
        raise MeddiffError(f"no classifier is called {name}: name one of {', '.join(KINDS)}")
    return KINDS[name].build(options)
