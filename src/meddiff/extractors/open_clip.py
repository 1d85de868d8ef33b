"""Vision towers that open_clip published, such as BiomedCLIP's, by name: `open_clip:OWNER/NAME`.

Of a repository two files are read: `open_clip_config.json` and the weights, of which the image's
half counts. Towers are timm's nets (Zhang et al. 2023, BiomedCLIP), or open_clip's own ViT, which
timm has by other names.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from meddiff.core.errors import MeddiffError
from meddiff.extractors.encoder import Encoder
from meddiff.extractors.extractor import Extractor, extractor_of
from meddiff.extractors.fetching import read_weights

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""The first of them that a repository has; of the second no code is run."""
OWN = {768: "base", 1024: "large", 1280: "huge"}
"""timm's word for the width of a ViT of open_clip's."""


class Tower(Encoder):
    """A vision tower with its projection; features are the image's embeddings.

    Args:
        config: `model_cfg` and `preprocess_cfg` of the repository.
        weights: of the whole model.
    """

    def __init__(
        self, config: Mapping[str, Any], weights: Mapping[str, Tensor], block: int
    ) -> None:
        model, vision = config["model_cfg"], config["model_cfg"]["vision_cfg"]
        visual = {n: each for n, each in weights.items() if n.startswith("visual.")}
        if "timm_model_name" in vision:
            pool = {"global_pool": vision["timm_pool"]} if vision.get("timm_pool") else {}
            trunk = "visual.trunk."
            super().__init__(
                vision["timm_model_name"],
                {n.removeprefix(trunk): each for n, each in visual.items() if n.startswith(trunk)},
                block,
                convert=lambda weights, net: weights,
                num_classes=0,
                **pool,
            )
            self.head = _head({n: each for n, each in visual.items() if "visual.head." in n})
        else:
            super().__init__(_own(model), visual, block, num_classes=model["embed_dim"])
            self.head = nn.Identity()
        self.dimension = model["embed_dim"]
        stated = config.get("preprocess_cfg", {})
        self.side = int(vision["image_size"])
        self.mean, self.std = stated.get("mean", self.mean), stated.get("std", self.std)

    def features(self, batch: Tensor) -> Tensor:
        """Return (N, dimension)."""
        embedding: Tensor = self.head(self.trunk(batch))
        return embedding


def load_tower(name: str, folder: Path, weights: Path, block: int) -> Extractor:
    """Return the vision tower of a repository whose files lie in a folder.

    Raises:
        MeddiffError: they are of no such model.
    """
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        network = Tower(config, read_weights(weights), block)
    # timm and torch raise what they like for the files of something else.
    except (KeyError, ValueError, RuntimeError, TypeError, AttributeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise MeddiffError(
            f"{name} has no vision tower that timm can build ({reason}): name another model"
        ) from error
    return extractor_of(name, network, weights)


def _head(weights: Mapping[str, Tensor]) -> nn.Module:
    """Return the projection, linear as open_clip has it for these towers, or none."""
    named = {name.removeprefix("visual.head."): each for name, each in weights.items()}
    if not named:
        return nn.Identity()
    outputs, inputs = named["proj.weight"].shape
    head = nn.Sequential()
    head.add_module("proj", nn.Linear(inputs, outputs, bias="proj.bias" in named))
    head.load_state_dict(named)
    return head


def _own(model: Mapping[str, Any]) -> str:
    """Return timm's name of a ViT of open_clip's."""
    vision = model["vision_cfg"]
    size = OWN[vision["width"]]
    activation = "quickgelu_" if model.get("quick_gelu") else ""
    return f"vit_{size}_patch{vision['patch_size']}_clip_{activation}{vision['image_size']}"
