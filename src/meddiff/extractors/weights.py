"""Weights that others publish: what they are, and what to do without them.

`data/registry.csv` says where their files are fetched from and what is known of their bytes;
`fetching.py` fetches them.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """Weights that somebody publishes.

    Attributes:
        name: what they are, e.g. "ImageNet weights of ResNet50".
        file: their file: `weights/<file>` in the registry, and its name in torch's hub folder.
        otherwise: what a user does who cannot have them, e.g. "set hand.weights to none".
    """

    name: str
    file: str
    otherwise: str


@dataclass(frozen=True)
class Replaceable(Published):
    """Published weights that a run can do without.

    Attributes:
        insisting: the setting's value that does not go without them.
        instead: what is done without them, e.g. "trained from scratch".
        result: the workflow's file to delete before another try.
    """

    insisting: str
    instead: str
    result: str


IMAGENET = Replaceable(
    name="ImageNet weights of ResNet50",
    file="resnet50-11ad3fa6.pth",
    otherwise="set extractors.resnet50.weights to auto or none",
    insisting="imagenet",
    instead="trained from scratch",
    result="models/imagenet_resnet50.safetensors",
)
RADIMAGENET = Replaceable(
    name="RadImageNet weights of ResNet50",
    file="RadImageNet-ResNet50_notop.pth",
    otherwise="set hand.weights to auto or none",
    insisting="radimagenet",
    instead="random weights",
    result="models/radimagenet_resnet50.safetensors",
)
