"""Every source of images by name, and what its images come with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ImageSource:
    """What a value of `data.source` stands for.

    Attributes:
        archives: source of `registry.csv` whose archives hold its images.
        classes: its classes; None where the configuration names them.
        challenge: whether the ISIC challenge's tables describe its images: diagnoses, patients,
            lesions.
        isic2016: whether ISIC 2016's images, which have masks, train the U-Net.
        drawn: whether the workflow draws its archives itself.
    """

    archives: str
    classes: tuple[str, ...] | None
    challenge: bool = False
    isic2016: bool = False
    grey: bool = False
    drawn: bool = False


SourceName = Literal["phantom", "kaggle", "isic", "mednist", "phantom_hand", "folder"]
DERMOSCOPY = ("benign", "malignant")
SOURCES: Mapping[SourceName, ImageSource] = {
    "phantom": ImageSource("kaggle", DERMOSCOPY, challenge=True, isic2016=True, drawn=True),
    "kaggle": ImageSource("kaggle", DERMOSCOPY, challenge=True, isic2016=True),
    "isic": ImageSource("isic", DERMOSCOPY, challenge=True, isic2016=True),
    "mednist": ImageSource("mednist", ("hand",), grey=True),
    "phantom_hand": ImageSource("mednist", ("hand",), grey=True, drawn=True),
    "folder": ImageSource("folder", None),
}
