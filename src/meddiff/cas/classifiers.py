"""Every classifier by name."""

from collections.abc import Mapping

from torch import Tensor

from meddiff.cas.classifier import Classifier
from meddiff.cas.hog import HogSvm
from meddiff.cas.nets import resnet50, skinlesnet
from meddiff.cas.settings import Cas
from meddiff.errors import MeddiffError


def build_classifier(
    name: str,
    classes: int,
    size: int,
    settings: Cas,
    *,
    imagenet: Mapping[str, Tensor] | None = None,
    threads: int = 1,
    device: str = "cpu",
) -> Classifier:
    """Return a classifier to be trained.

    Args:
        name: "skinlesnet", "resnet50" or "hog_svm".
        classes: number of classes.
        size: side of the images in px.
        settings: of the experiment.
        imagenet: ResNet50's weights; without them all of it is trained.
        threads: fits of an SVM at a time.
        device: torch device.

    Raises:
        MeddiffError: there is no such classifier.
    """
    if name == "skinlesnet":
        return skinlesnet(classes, size, settings, device)
    if name == "resnet50":
        return resnet50(classes, imagenet, settings, device)
    if name == "hog_svm":
        return HogSvm(settings.hog_svm, threads)
    raise MeddiffError(f"no classifier is called {name}: take skinlesnet, resnet50 or hog_svm")
