"""Published weights by net: what they are, and what to do without them.

`data/registry.csv` says where their files are fetched from and with which digest; `fetching.py`
fetches them.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class PretrainedWeights:
    """Published weights of a net.

    Attributes:
        name: what they are, e.g. "ImageNet weights of ResNet50".
        file: their file: `weights/<file>` in the registry, and its name in torch's hub folder.
        remedy: what a user does who cannot have them.
        fallback: what a run that may do without them takes instead.
    """

    name: str
    file: str
    remedy: str
    fallback: str = "random weights"


def _of_extractor(name: str, title: str, file: str) -> PretrainedWeights:
    remedy = f"set extractors.weights to auto, or leave {name} out of extractors.published"
    return PretrainedWeights(title, file, remedy)


WEIGHTS = {
    "inception": _of_extractor(
        "inception", "Inception weights of FID", "weights-inception-2015-12-05-6726825d.pth"
    ),
    "radimagenet": _of_extractor(
        "radimagenet", "RadImageNet weights of ResNet50", "RadImageNet-ResNet50_notop.pth"
    ),
    "dinov2": _of_extractor("dinov2", "DINOv2 weights of ViT-S/14", "dinov2_vits14_pretrain.pth"),
    "clip": _of_extractor(
        "clip",
        "CLIP weights of ViT-L/14 at 336 px",
        "vit_large_patch14_clip_336.openai.safetensors",
    ),
    "resnet50": PretrainedWeights(
        "ImageNet weights of ResNet50",
        "resnet50-11ad3fa6.pth",
        "set extractors.resnet50.weights to auto or none",
        fallback="trained from scratch",
    ),
}
