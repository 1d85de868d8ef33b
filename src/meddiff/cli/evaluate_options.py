"""The options of `meddiff evaluate`."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from meddiff.core.errors import MeddiffError

DESCRIPTION = """Are these synthetic images like these real ones? FID and KID between a floor (real
against real) and a ceiling (noise), precision and recall, variety, copies of training images."""

ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    "real": {
        "type": Path,
        "help": "real images: a folder, zip or tar, a table (.csv, .xlsx) beside its images, or "
        "one file of images (.npz, .npy, DICOM, NIfTI)",
    },
    "synthetic": {"type": Path, "help": "synthetic images, in the same forms"},
    "--unseen": {
        "type": Path,
        "metavar": "IMAGES",
        "help": "real images that the generator was not trained on, if it was trained on REAL: "
        "needed to detect copies",
    },
    "--groups": {
        "metavar": "COLUMN|REGEX",
        "help": "patient, lesion or volume of real images, if several images share one: a column "
        "of their table, or a regular expression on their paths, whose first bracket it is, e.g. "
        "'(P[0-9]+)'",
    },
    "--train": {
        "action": "store_true",
        "help": "train classifiers on synthetic, real and both, and test them on other real images "
        "that share no group with them: can synthetic images replace real ones? REAL and SYNTHETIC "
        "need a folder per class",
    },
    "--repeats": {
        "type": int,
        "default": 3,
        "help": "trainings per classifier and training set (3)",
    },
    "--margin": {
        "type": float,
        "default": 0.05,
        "help": "non-inferiority margin: the largest loss of accuracy that does not matter (0.05)",
    },
    "--extractor": {
        "action": "append",
        "metavar": "NAME|FILE",
        "help": "inception (the default), radimagenet, swav, dinov2, clip, panderm, "
        "efficientnet_lite0, radiomics, timm:MODEL, hf-hub:OWNER/NAME, "
        "local-dir:FOLDER, open_clip:OWNER/NAME, or a checkpoint such as "
        "models/skinlesnet.safetensors; may be repeated; none for SSIM alone",
    },
    "--size": {
        "type": int,
        "metavar": "PX",
        "help": "resize images to this side first; by default each extractor takes the originals "
        "at its own size",
    },
    "--resize": {
        "choices": ["clean-fid", "pytorch-fid", "torch-fidelity"],
        "help": "for inception: resize whole images, not their centre squares, to 299 px as this "
        "program does, for a comparable FID",
    },
    "--window": {
        "type": float,
        "nargs": 2,
        "metavar": ("LOW", "HIGH"),
        "help": "levels that become black and white in images of more than 8 bits (default: the "
        "files' windows, else one for all); Hounsfield units for CT",
    },
    "--percentiles": {
        "type": float,
        "nargs": 2,
        "metavar": ("LOW", "HIGH"),
        "help": "such levels as percentiles of each file, e.g. 1 99",
    },
    "--slices": {
        "default": "middle",
        "metavar": "middle|K",
        "help": "slices of volumes or frames of files: the middle one, or every K-th (middle)",
    },
    "--plane": {
        "default": "axial",
        "choices": ["axial", "coronal", "sagittal"],
        "help": "plane of a NIfTI volume's slices (axial)",
    },
    "--crop": {"type": int, "help": "side of the centre crop in px (the largest)"},
    "--pairs": {
        "type": int,
        "help": "images per set whose pairs SSIM compares (300 at 64 px, fewer at larger sizes)",
    },
    "--n-resamples": {
        "type": int,
        "default": 200,
        "help": "half-samples behind each interval (200)",
    },
    "--seed": {"type": int, "default": 0},
    "--device": {"default": "auto", "choices": ["auto", "cpu", "cuda", "mps"]},
    "--report": {
        "type": Path,
        "metavar": "FILE.html",
        "help": "write a self-contained page: the answer, numbers as bars, images side by side, "
        "and those to inspect",
    },
    "--csv": {
        "type": Path,
        "metavar": "FILE",
        "help": "write a row per image: the nearest image of the other set, whether it is "
        "authentic, whether it lies in a neighbourhood of that set",
    },
    "--fail-below": {
        "action": "append",
        "default": [],
        "metavar": "NAME=VALUE",
        "help": "exit with 1 if a number is lower: score (the lowest of FID and KID), accuracy "
        "(with --train), or a metric such as precision; may be repeated",
    },
    "--json": {"action": "store_true", "help": "print everything as JSON"},
}

CHOICES = ("window", "percentiles", "slices", "plane")
"""Options on files that leave a choice, as `meddiff.data.readers.settings.Reading` names them."""


def check(options: argparse.Namespace) -> dict[str, Path]:
    """Check the arguments; return the paths of the image sets by name."""
    paths = {"real": options.real, "synthetic": options.synthetic, "unseen": options.unseen}
    paths = {name: path for name, path in paths.items() if path is not None}
    if missing := [str(path) for path in paths.values() if not path.exists()]:
        raise MeddiffError(f"there is no {' and no '.join(missing)}: name folders of images")
    for name, least in {"size": 2, "crop": 1, "pairs": 4, "n_resamples": 4, "repeats": 1,
                        "seed": 0}.items():  # fmt: skip
        value = getattr(options, name)
        if value is not None and value < least:
            raise MeddiffError(f"--{name.replace('_', '-')} is {value}: it must be {least} or more")
    if "accuracy" in limits(options.fail_below) and not options.train:
        raise MeddiffError("--fail-below accuracy: there is none without --train")
    _check_resize(options)
    for path in (options.report, options.csv):
        if path is not None and not path.absolute().parent.is_dir():
            raise MeddiffError(
                f"{path}: there is no folder {path.parent}: make it, or name another"
            )
    if not 0 < options.margin < 1:
        raise MeddiffError(f"--margin is {options.margin}: it must be above 0 and below 1")
    return paths


def _check_resize(options: argparse.Namespace) -> None:
    """Refuse --resize where no extractor would take whole images."""
    if options.resize is None:
        return
    if options.size is not None:
        raise MeddiffError(
            f"--resize {options.resize} takes whole files and --size {options.size} reduces their "
            "squares first: leave one of them out"
        )
    if "inception" not in (options.extractor or ["inception"]):
        raise MeddiffError(
            f"--resize {options.resize} is how inception takes images: add --extractor inception, "
            "or leave it out"
        )


def limits(texts: Sequence[str]) -> dict[str, float]:
    """Return the smallest value of each number, from NAME=VALUE."""
    smallest = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            smallest[name] = float(value)
        except ValueError as error:
            raise MeddiffError(
                f"--fail-below {text}: give a name and a number, as in score=0.8"
            ) from error
    return smallest
