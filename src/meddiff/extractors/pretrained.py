"""Nets with published weights, by name."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, hub, nn

from meddiff.core.errors import MeddiffError
from meddiff.core.imports import needing
from meddiff.extractors.extractor import Extractor, build_network, read_extractor
from meddiff.extractors.fetching import find_weights
from meddiff.extractors.hub import PREFIXES, is_hub_name, load_hub_extractor
from meddiff.extractors.names import PRETRAINED, module_of
from meddiff.extractors.settings import InceptionResize, WeightsPolicy
from meddiff.extractors.supervised import seeded
from meddiff.extractors.weights import WEIGHTS, PretrainedWeights

log = logging.getLogger(__name__)

RADIOMICS = "radiomics"
"""Names features that no net computes."""


def pretrained_weights(
    name: str, policy: WeightsPolicy, mirrors: Mapping[str, str], file: str | Path | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return published weights and their checkpoint's metadata.

    Args:
        name: a published extractor; resnet50 for the ImageNet weights that it starts from; alexnet.
        policy: what to do without them, see `find_weights`. A published extractor takes random
            weights then, the same every time; for resnet50 there are none.

    Raises:
        MeddiffError: the weights are required and unavailable, or those of another net.
    """
    which = WEIGHTS[name]
    retry = "; to try again: snakemake --forcerun pretrained_weights"
    weights, line, _ = find_weights(which, policy, mirrors, file, retry)
    metadata = {"weights": line}
    if name not in PRETRAINED:
        kept = {key: one for key, one in (weights or {}).items() if key.startswith(which.part)}
        return kept, metadata
    metadata["extractor"] = name
    if weights is None:
        random: Any = seeded(lambda: module_of(name).build(None), 0, name)
        return random.trunk.state_dict(), metadata
    # The weights of another net fail here, before hours of training.
    network: Any = _build(name, weights, metadata, which)
    return network.trunk.state_dict(), metadata


def load_extractor(name: str, *, resize: InceptionResize = "clean-fid") -> Extractor:
    """Return an extractor by its published name, a name of timm's, or the path of a checkpoint.

    Args:
        name: `inception`, `radimagenet`, `swav`, `dinov2`, `clip`, `panderm`,
            `efficientnet_lite0` or `radiomics`; `timm:<model>`, `hf-hub:<owner>/<name>`,
            `local-dir:<folder>` or `open_clip:<owner>/<name>`; or a file such as
            models/skinlesnet.safetensors.
        resize: how `inception` brings images to 299 px: as the program of that name does.

    Raises:
        MeddiffError: there is none of these, or its weights are unavailable.
    """
    if is_hub_name(name):
        return load_hub_extractor(name)
    if name == RADIOMICS:
        return _radiomics()
    if name in PRETRAINED:
        remedy = (
            "name another --extractor: a checkpoint such as models/skinlesnet.safetensors, or none "
            f"(the folder here is {Path(hub.get_dir(), 'checkpoints')})"
        )
        which = replace(WEIGHTS[name], remedy=remedy)
        weights, line, digest = find_weights(which, "required", {})
        assert weights is not None
        network: Any = _build(name, weights, {"extractor": name, "weights": line}, which)
        if name == "inception":
            network.resize, line = resize, f"{line}, resized as {resize} does it"
        return Extractor(name, network, None, digest, line)
    if not Path(name).is_file():
        raise MeddiffError(
            f"{name} is neither an extractor ({', '.join([*PRETRAINED, RADIOMICS])}), nor a name "
            f"of timm's ({', '.join(PREFIXES)}), nor a file such as models/skinlesnet.safetensors"
        )
    return read_extractor(name)


def _radiomics() -> Extractor:
    with needing("radiomics", RADIOMICS):
        from meddiff.extractors.radiomics import Radiomics
    network = Radiomics()
    return Extractor(RADIOMICS, network, None, "", network.line)


def load_default_extractor(*, resize: InceptionResize = "clean-fid") -> Extractor:
    """Return `inception`, or where its weights cannot be had the net whose weights a package has.

    Raises:
        MeddiffError: neither can be had.
    """
    try:
        return load_extractor("inception", resize=resize)
    except MeddiffError as reason:
        try:
            instead = load_extractor("efficientnet_lite0")
        except MeddiffError:
            raise MeddiffError(
                f"{reason}; SSIM, copies and --train need no net: --extractor none"
            ) from None
        log.warning("%s", reason)
        line = f"{instead.weights}, for want of InceptionV3's: no published FID is comparable"
        return replace(instead, weights=line)


def _build(
    name: str, weights: Mapping[str, Tensor], metadata: Mapping[str, Any], which: PretrainedWeights
) -> nn.Module:
    return build_network(metadata, weights, metadata["weights"], f"take those of {which.file}")
