"""Every extractor by name: a new one is a module of this package, and an entry here.

Such a module has a function `build(about, weights)` that returns its net with those weights, from
what a checkpoint tells about itself; published ones have `WEIGHTS` as well. Imports wait until a
net is asked for, since torchvision's and timm's take seconds, and they are written out for the
fingerprints of `provenance`.
"""

from collections.abc import Callable
from types import ModuleType

from meddiff.core.errors import MeddiffError


def _unet() -> ModuleType:
    from meddiff.extractors import unet

    return unet


def _skinlesnet() -> ModuleType:
    from meddiff.extractors import skinlesnet

    return skinlesnet


def _resnet50() -> ModuleType:
    from meddiff.extractors import resnet50

    return resnet50


def _inception() -> ModuleType:
    from meddiff.extractors import inception

    return inception


def _radimagenet() -> ModuleType:
    from meddiff.extractors import radimagenet

    return radimagenet


def _dinov2() -> ModuleType:
    from meddiff.extractors import dinov2

    return dinov2


def _clip() -> ModuleType:
    from meddiff.extractors import clip

    return clip


TRAINED: dict[str, Callable[[], ModuleType]] = {
    "unet": _unet,
    "skinlesnet": _skinlesnet,
    "resnet50": _resnet50,
}
"""Nets that rules of the workflow train."""
PUBLISHED: dict[str, Callable[[], ModuleType]] = {
    "inception": _inception,
    "radimagenet": _radimagenet,
    "dinov2": _dinov2,
    "clip": _clip,
}
"""Nets that `extractors.published` may name."""


def module_of(name: str) -> ModuleType:
    """Return the module of an extractor.

    Raises:
        MeddiffError: there is no such extractor, or a package that it needs is not installed.
    """
    known = TRAINED | PUBLISHED
    if name not in known:
        raise MeddiffError(f"there is no extractor {name}: name one of {', '.join(known)}")
    try:
        return known[name]()
    except ModuleNotFoundError as error:
        raise MeddiffError(
            f"the extractor {name} needs the package {error.name}, which is not installed: run "
            f"pip install -e '.[encoders]', or do without {name}"
        ) from error
