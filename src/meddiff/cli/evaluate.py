"""`meddiff evaluate`."""

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meddiff.core.console import printable, say
from meddiff.core.errors import MeddiffError

if TYPE_CHECKING:
    from meddiff.data.image_sets import ImageSet
    from meddiff.extractors.extractor import Extractor

log = logging.getLogger(__name__)

DESCRIPTION = """Are these synthetic images like these real ones? FID and KID between a floor (real
against real) and a ceiling (noise), precision and recall, variety, copies of training images."""

ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    "real": {"type": Path, "help": "folder, zip, tar or .npy of real images"},
    "synthetic": {"type": Path, "help": "the same of synthetic ones"},
    "--unseen": {
        "type": Path,
        "metavar": "IMAGES",
        "help": "real images that the generator has not learnt from, where it has from REAL: "
        "detects copies",
    },
    "--groups": {
        "metavar": "COLUMN|REGEX",
        "help": "what names the patient, lesion or volume of a real image, where several are of "
        "one: a column of its table, or a regular expression on its path, whose first bracket it "
        "is, e.g. '(P[0-9]+)'",
    },
    "--extractor": {
        "action": "append",
        "metavar": "NAME|FILE",
        "help": "inception (the default), radimagenet, dinov2, clip, or a checkpoint such as "
        "models/skinlesnet.safetensors; may be repeated; none for SSIM alone",
    },
    "--size": {
        "type": int,
        "metavar": "PX",
        "help": "side that files are reduced to (what the extractor's file asks for, else 64); 32 "
        "or more for MS-SSIM",
    },
    "--crop": {"type": int, "help": "side of the centre crop in px; else the largest"},
    "--pairs": {"type": int, "default": 500, "help": "images per set whose pairs SSIM takes (500)"},
    "--n-resamples": {
        "type": int,
        "default": 200,
        "help": "half-samples behind each interval (200)",
    },
    "--seed": {"type": int, "default": 0},
    "--device": {"default": "auto", "choices": ["auto", "cpu", "cuda", "mps"]},
    "--json": {"action": "store_true", "help": "print everything as JSON"},
}


def run(options: argparse.Namespace, rest: list[str]) -> int:
    """Score the images and print the scores."""
    from meddiff.core.devices import choose_device
    from meddiff.evaluation.evaluate import evaluate
    from meddiff.evaluation.text import as_text

    paths = _check(options)
    device = choose_device(options.device)
    extractors = _load_extractors(options.extractor or ["inception"])
    sets = _read(paths, options, _size(options.size, extractors))
    evaluation = evaluate(
        sets["real"],
        sets["synthetic"],
        extractors,
        unseen=sets.get("unseen"),
        ssim_images=options.pairs,
        n_resamples=options.n_resamples,
        seed=options.seed,
        device=device,
    )
    about = _describe(paths, sets, options.seed, extractors)
    if options.json:
        say(json.dumps(about | evaluation.to_dict(), indent=1))
    else:
        say(as_text(about, evaluation))
    return 0


def _read(
    paths: Mapping[str, Path], options: argparse.Namespace, size: int
) -> dict[str, "ImageSet"]:
    """Read the image sets by name, real ones with their groups, and classes that all have."""
    from meddiff.data.grouping import grouped_by_name, groups_by
    from meddiff.data.image_sets import list_images
    from meddiff.evaluation.image_sets import MIN_IMAGES, with_same_channels, with_same_classes

    listings = {name: list_images(path) for name, path in paths.items()}
    for name, listing in listings.items():
        if len(listing.rows) < MIN_IMAGES:
            raise MeddiffError(
                f"{paths[name]} has {len(listing.rows)} images: scores need at least {MIN_IMAGES}"
            )
        if options.groups and name != "synthetic":
            rows = listing.rows.assign(group=groups_by(listing.rows, options.groups, paths[name]))
            listings[name] = replace(listing, rows=rows)
    windows: dict[str, tuple[float, float]] = {}
    pixels = with_same_channels(
        {
            name: listing.pixels(crop=options.crop, size=size, windows=windows)
            for name, listing in listings.items()
        }
    )
    sets = with_same_classes(
        {name: listing.image_set(pixels[name]) for name, listing in listings.items()}
    )
    for name, each in sets.items():
        ungrouped = name != "synthetic" and each.groups is None
        if ungrouped and (warning := grouped_by_name(each.ids, each.labels, paths[name])):
            log.warning(warning)
    return sets


def _check(options: argparse.Namespace) -> dict[str, Path]:
    """Check the arguments; return the paths of the image sets by name."""
    paths = {"real": options.real, "synthetic": options.synthetic, "unseen": options.unseen}
    paths = {name: path for name, path in paths.items() if path is not None}
    if missing := [str(path) for path in paths.values() if not path.exists()]:
        raise MeddiffError(f"there is no {' and no '.join(missing)}: name folders of images")
    for name, least in {"size": 2, "crop": 1, "pairs": 4, "n_resamples": 4, "seed": 0}.items():
        value = getattr(options, name)
        if value is not None and value < least:
            raise MeddiffError(f"--{name.replace('_', '-')} is {value}: it must be {least} or more")
    return paths


def _load_extractors(names: Sequence[str]) -> dict[str, "Extractor"]:
    """Load extractors by name; two of one name keep what they were called by."""
    from meddiff.extractors.pretrained import load_extractor

    extractors: dict[str, Extractor] = {}
    for name in names:
        if name != "none":
            extractor = load_extractor(name)
            extractors[name if extractor.name in extractors else extractor.name] = extractor
    return extractors


def _describe(
    paths: Mapping[str, Path],
    sets: Mapping[str, "ImageSet"],
    seed: int,
    extractors: Mapping[str, "Extractor"],
) -> dict[str, Any]:
    """Describe what the scores are of."""
    return {
        "sets": {
            name: {"path": printable(str(paths[name]), "utf-8"), "n_images": len(images)}
            for name, images in sets.items()
        },
        "pixels": list(sets["real"].images.shape[1:]),
        "seed": seed,
        "extractors": {name: {"weights": e.weights, "digest": e.digest}
                       for name, e in extractors.items()},
    }  # fmt: skip


def _size(requested: int | None, extractors: Mapping[str, "Extractor"]) -> int:
    """Return the side of images in px: as requested, or as an extractor needs it."""
    sizes = {each.size: name for name, each in extractors.items() if each.size is not None}
    for size, name in sizes.items():
        if requested not in (None, size):
            raise MeddiffError(f"{name} takes images of {size} px only: give --size {size}")
    if len(sizes) > 1:
        listed = ", ".join(f"{name} {size} px" for size, name in sizes.items())
        raise MeddiffError(
            f"extractors take images of different sizes ({listed}): name one per run"
        )
    return requested or next(iter(sizes), 64)
