"""The study's figures by number, and which picture of a run stands for each."""

from collections.abc import Sequence
from dataclasses import dataclass

HANDS, LESIONS = "5.1", "5.2"


@dataclass(frozen=True)
class Numbered:
    """A figure.

    Attributes:
        numbers: those of the study that it stands for, e.g. "5.3" or "5.12, 5.13".
        title: what it shows.
        path: of the picture below the run directory; `{cls}` stands for each class.
        net: extractor that it is of, if of one.
    """

    numbers: str
    title: str
    path: str
    net: str = ""


DRAWINGS = {
    "overview": ("1.4", "From real images to noise, and from noise to synthetic images"),
    "noise": ("2.1", "The forward process on a real image"),
    "processes": ("2.2", "This run's forward process beside others"),
    "ddpm": ("2.3", "The net that removes the noise"),
    "scores": ("2.4", "Scores of a toy at three noise levels"),
    "paths": ("2.5", "The same toy sampled by the reverse SDE and by the ODE"),
    "unet": ("4.1", "The U-Net that segments lesions"),
    "skinlesnet": ("4.2", "SkinLesNet"),
    "resnet50": ("4.3", "ResNet50 with the study's head"),
}
"""Figures of the study's chapters 1 to 4, drawn from the configuration."""

OF_HANDS = (
    Numbered("5.1, 5.2", "Images as published, and as the DDPM sees them", "data/images-{cls}"),
    Numbered("5.3", "Loss and learning rate", "ddpm/{cls}_curves"),
    Numbered("5.4", "Samples over the training", "ddpm/{cls}_previews"),
    Numbered("5.5", "From noise to images", "ddpm/{cls}_denoising"),
    Numbered("5.6", "Synthetic images", "samples/{cls}"),
)
OF_LESIONS = (
    Numbered("5.7-5.10", "Images as published, and as the nets see them", "data/images-{cls}"),
    Numbered("5.11", "Images with masks, which the U-Net learns from", "data/segmentation", "unet"),
    Numbered("5.12", "Loss and learning rate", "ddpm/{cls}_curves"),
    Numbered("5.13", "Samples over the training", "ddpm/{cls}_previews"),
    Numbered("5.14", "From noise to images", "ddpm/{cls}_denoising"),
    Numbered("5.15", "Synthetic images", "samples/{cls}"),
    Numbered("5.16", "Training of the U-Net", "extractors/unet_curves", "unet"),
    Numbered("5.17", "Training of SkinLesNet", "extractors/skinlesnet_curves", "skinlesnet"),
    Numbered("5.18", "Training of ResNet50", "extractors/resnet50_curves", "resnet50"),
    Numbered("5.19", "Lesions that the U-Net finds", "extractors/segmentation", "unet"),
    Numbered("5.20", "Real and synthetic images side by side", "image_sets"),
    Numbered("5.21", "Classifiers trained on synthetic, real and mixed images", "cas/arms"),
)


def drawings_of(trained: Sequence[str]) -> list[str]:
    """Return the names of the drawings of a run: of nets those that it trains."""
    others = {"unet", "skinlesnet", "resnet50"} - {*trained}
    return [name for name in DRAWINGS if name not in others]


def figures_of(
    classes: Sequence[str], trained: Sequence[str], ddpms: Sequence[str]
) -> list[Numbered]:
    """Return the figures that a run makes, drawings first, one entry per class and picture.

    The study's section 5.1 is of one class, 5.2 of two: so is the numbering. Figures of
    a net are listed if the run trains it; those of a DDPM, for classes that a DDPM draws.

    Args:
        ddpms: classes that a DDPM draws.
    """
    figures = [
        Numbered(*DRAWINGS[name], f"results/figures/drawings/{name}.svg")
        for name in drawings_of(trained)
    ]
    for each in OF_HANDS if len(classes) == 1 else OF_LESIONS:
        if each.net and each.net not in trained:
            continue
        folder = "results" if each.path.startswith("samples/") else "results/figures"
        shown = ddpms if each.path.startswith(("ddpm/", "samples/")) else classes
        for cls in shown if "{cls}" in each.path else [""]:
            title = f"{each.title}: {cls}" if cls else each.title
            path = f"{folder}/{each.path.format(cls=cls)}.png"
            figures.append(Numbered(each.numbers, title, path))
    return figures
