"""Any model of timm as an extractor, by name: its weights come through the one downloader.

Names are timm's own: `timm:<model>` of its registry, `hf-hub:<owner>/<name>` of the Hugging Face
Hub with a revision behind an `@`, `local-dir:<folder>` with the two files that the hub would have;
`open_clip:<owner>/<name>` or `open_clip:<folder>` is a vision tower that open_clip published.
"""

import os
from pathlib import Path
from typing import Any

from torch import hub

from meddiff.core.errors import MeddiffError, one_line
from meddiff.core.imports import needing
from meddiff.extractors.extractor import Extractor, extractor_of
from meddiff.extractors.fetching import fetch_recorded

PREFIXES = ("timm:", "hf-hub:", "local-dir:", "open_clip:")
WEIGHTS_FILE = "model.safetensors"
"""The one format that is read: it holds numbers and no code."""
CONFIG_FILE = "config.json"
PUBLISHER = "https://huggingface.co"
BLOCK = 8
"""Images that a net sees at once; it may be a large one."""


def is_hub_name(name: str) -> bool:
    """Return whether a name is one of timm's."""
    return name.startswith(PREFIXES)


def load_hub_extractor(name: str) -> Extractor:
    """Return a model of timm; features are what it gives before a classifier, (N, dimension).

    Preprocessing is what its configuration states: side, interpolation, mean and deviation. The
    SHA-256 of the first fetch is recorded and must hold ever after.

    Raises:
        MeddiffError: there is no such model, it cannot be fetched, has no weights as safetensors,
            or timm cannot build it.
    """
    with needing("encoders", name):
        from meddiff.extractors.encoder import Encoder
    prefix, _, model = name.partition(":")
    if prefix == "open_clip":
        return _open_clip(name, model)
    options: dict[str, Any] = {"pretrained": True, "headless": True}
    if prefix == "timm":
        weights = _fetch(_published_at(model), WEIGHTS_FILE)
        options["pretrained_cfg_overlay"] = {"file": str(weights)}
    else:
        folder = Path(model) if prefix == "local-dir" else _fetch(model, CONFIG_FILE).parent
        weights = folder / WEIGHTS_FILE if prefix == "local-dir" else _fetch(model, WEIGHTS_FILE)
        for file in (folder / CONFIG_FILE, weights):
            if not file.is_file():
                raise MeddiffError(f"there is no {file}: name a folder with both files of a model")
        model = f"local-dir:{folder}"
    try:
        network = Encoder(model, None, BLOCK, **options)
    # timm raises what it likes for the configuration or the weights of something else.
    except Exception as error:
        reason = one_line(error, 300)
        raise MeddiffError(f"timm cannot build {name} ({reason}): name another model") from error
    return extractor_of(name, network, weights)


def _open_clip(name: str, model: str) -> Extractor:
    from meddiff.extractors.open_clip import CONFIG_FILE, WEIGHTS_FILES, load_tower

    if Path(model).is_dir():
        files = [file for each in WEIGHTS_FILES if (file := Path(model, each)).is_file()]
        if not files or not Path(model, CONFIG_FILE).is_file():
            raise MeddiffError(f"{model} lacks {CONFIG_FILE} or {' or '.join(WEIGHTS_FILES)}")
        return load_tower(name, Path(model), files[0], BLOCK)
    folder = _fetch(model, CONFIG_FILE).parent
    first, second = WEIGHTS_FILES
    try:
        weights = _fetch(model, first)
    except MeddiffError:  # older repositories have the other file alone
        weights = _fetch(model, second)
    return load_tower(name, folder, weights, BLOCK)


def _published_at(model: str) -> str:
    """Return the repository of a model of timm's registry."""
    from timm.models import get_pretrained_cfg

    try:
        stated = get_pretrained_cfg(model)
    except RuntimeError:
        stated = None
    if stated is None or not stated.hf_hub_id:
        raise MeddiffError(
            f"timm has no published weights of {model}: name one that timm.list_pretrained() lists"
        )
    return str(stated.hf_hub_id)


def _fetch(repository: str, file: str) -> Path:
    """Return a file of a repository on the hub, in torch's hub folder."""
    owner_and_name, _, revision = repository.partition("@")
    folder = Path(hub.get_dir(), "checkpoints", "timm", repository.replace("/", "--"))
    publisher = os.environ.get("HF_ENDPOINT", PUBLISHER).rstrip("/")
    address = f"{publisher}/{owner_and_name}/resolve/{revision or 'main'}/{file}"
    fetch_recorded(address, folder / file)
    return folder / file
