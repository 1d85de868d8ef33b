"""Every extractor by name.

An extractor is the module of its name in this package, imported when it is needed, since
torchvision's and timm's imports take seconds. It has a function `build` that returns its net:
`build(metadata, weights)` from a checkpoint of a trained one, `build(weights)` of a published one.
A classifier also has `recipe(classes, size, imagenet)`, which says how it is trained.
"""

from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import get_args

from meddiff.core.errors import MeddiffError
from meddiff.core.imports import needing
from meddiff.extractors.settings import PretrainedName, TrainedName

TRAINED: tuple[str, ...] = get_args(TrainedName)
PRETRAINED: tuple[str, ...] = get_args(PretrainedName)
METRICS_OF: Mapping[str, tuple[str, ...]] = {"clip": ("cmmd",), "inception": ("inception_score",)}
"""Metrics that are defined for one net alone."""
CAUTIONS: Mapping[str, str] = {
    "radimagenet": "Woodland et al. (MICCAI 2024, arXiv:2311.13717) report rankings by nets of "
    "RadImageNet as volatile and unlike those of experts, with whom nets of ImageNet agreed: look "
    "at swav or inception, too"
}
"""Cautions about the numbers of an extractor."""


def module_of(name: str) -> ModuleType:
    """Return the module of an extractor.

    Raises:
        MeddiffError: there is no such extractor, or a package that it needs is not installed.
    """
    names = [*TRAINED, *PRETRAINED]
    if name not in names:
        raise MeddiffError(f"there is no extractor {name}: name one of {', '.join(names)}")
    with needing("encoders", f"the extractor {name}"):
        return import_module(f"meddiff.extractors.{name}")
