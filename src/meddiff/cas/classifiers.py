"""Every classifier of the experiment by name: HOG and SVM, and nets with a `recipe`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from meddiff.core.errors import MeddiffError
from meddiff.extractors.names import module_of

if TYPE_CHECKING:
    from torch import Tensor

    from meddiff.cas.base import Classifier
    from meddiff.cas.settings import CasSettings

CLASSIFIERS = ("skinlesnet", "resnet50", "hog_svm")
"""Names that settings take."""
HOG_SVM = "hog_svm"
"""Has a table of its own; `cas.classifiers` names others."""


def build_classifier(
    name: str,
    classes: int,
    size: int,
    settings: "CasSettings",
    *,
    imagenet: "Mapping[str, Tensor] | None" = None,
    threads: int = 1,
    device: str = "cpu",
) -> "Classifier":
    """Return a classifier to be trained.

    Args:
        name: one of `CLASSIFIERS`.
        size: side of the images in px.
        imagenet: torchvision's weights of ResNet50; others take none.
        threads: fits at a time, of HOG and SVM.

    Raises:
        MeddiffError: there is no such classifier.
    """
    if name not in CLASSIFIERS:
        raise MeddiffError(f"no classifier is called {name}: name one of {', '.join(CLASSIFIERS)}")
    # Imports wait until a classifier is built: OpenCV, scikit-learn and torch take seconds.
    if name == HOG_SVM:
        from meddiff.cas.hog import HogSvm

        return HogSvm(settings.hog_svm, threads)
    from meddiff.cas.nets import Net

    return Net(module_of(name).recipe(classes, size, imagenet), settings, device)
