"""Extractors with published weights, by name."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor, hub, nn

from meddiff.core.errors import MeddiffError
from meddiff.extractors.extractor import Extractor, build_network, load_extractor
from meddiff.extractors.fetching import required_weights
from meddiff.extractors.registry import PUBLISHED, module_of
from meddiff.extractors.weights import Published


def published_weights(
    name: str,
    mirrors: Mapping[str, str],
    file: str | Path | None = None,
    otherwise: str | None = None,
) -> tuple[dict[str, Tensor], dict[str, Any], nn.Module]:
    """Return a published extractor's weights, what its checkpoint tells, and its net.

    Args:
        name: its name in the registry.
        mirrors: beginnings of published addresses to what stands in their place.
        file: the user's own copy of the weights.
        otherwise: what a user does without them who has no configuration.

    Raises:
        MeddiffError: the weights cannot be had, or are of another net.
    """
    which: Published = module_of(name).WEIGHTS
    which = replace(which, otherwise=otherwise or which.otherwise)
    weights, note = required_weights(which, mirrors, file)
    about = {"extractor": name, "weights": note}
    network = build_network(about, weights, note, f"take those of {which.file}")
    return weights, about, network


def find_extractor(name: str) -> Extractor:
    """Return an extractor by its published name, or by the path of a checkpoint.

    Raises:
        MeddiffError: there is neither, or its weights cannot be had.
    """
    if name in PUBLISHED:
        otherwise = (
            "name another --extractor: a checkpoint such as models/skinlesnet.safetensors, or none "
            f"(the folder here is {Path(hub.get_dir(), 'checkpoints')})"
        )
        weights, about, network = published_weights(name, {}, otherwise=otherwise)
        digest = hashlib.sha256(save(weights)).hexdigest()
        return Extractor(name, network, None, digest, about["weights"])
    if not Path(name).is_file():
        raise MeddiffError(
            f"{name} is neither a published extractor ({', '.join(PUBLISHED)}) nor a file such as "
            "models/skinlesnet.safetensors"
        )
    return load_extractor(name)
