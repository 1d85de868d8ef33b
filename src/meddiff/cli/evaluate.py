"""`meddiff evaluate`."""

import argparse
import json
import logging
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meddiff.cli.evaluate_options import CHOICES, check, limits
from meddiff.core.console import printable, say
from meddiff.core.errors import MeddiffError
from meddiff.core.files import write_csv

if TYPE_CHECKING:
    from meddiff.assessment.evaluate import Evaluation
    from meddiff.data.image_sets import ImageSet
    from meddiff.data.listing import Listing
    from meddiff.evaluation.own_size import Framing
    from meddiff.extractors.extractor import Extractor
    from meddiff.extractors.settings import InceptionResize

log = logging.getLogger(__name__)

SMALL = 64
"""Px at which images are searched for copies, where no size is requested."""
RESIZE: "InceptionResize" = "clean-fid"
"""How inception's input comes about by default, from centre squares."""


def run(options: argparse.Namespace, rest: list[str]) -> int:
    """Score the images and print the scores."""
    from meddiff.assessment.evaluate import evaluate
    from meddiff.assessment.text import as_answer, as_text
    from meddiff.assessment.training import QUICK
    from meddiff.core.devices import choose_device
    from meddiff.evaluation.compared import PAIRED
    from meddiff.evaluation.image_sets import with_same_classes
    from meddiff.evaluation.own_size import Framing, Measured, measure

    paths = check(options)
    changes = {"n_repeats": options.repeats, "non_inferiority_margin": options.margin}
    device = choose_device(options.device)
    extractors = _load_extractors(options.extractor, options.resize or RESIZE)
    _check_size(options.size, extractors)
    listed = _list(paths, options)
    listings = with_same_classes(listed)
    _check_limits(options, listings, extractors)
    _warn_of_patients(listed, listings)
    framing = Framing(options.crop, whole=_taken_whole(options.resize, extractors), windows={})
    sets = _read(listings, options.size or _small(listings), framing)
    own: Measured = {"features": {}, "pairs": {}}
    if options.size is None:
        small = {name: each.images for name, each in sets.items()}
        choice = {"most": options.pairs, "seed": options.seed, "device": device}
        own = measure(listings, small, extractors, framing, **choice)
    evaluation = evaluate(
        sets["real"],
        sets["synthetic"],
        extractors,
        unseen=sets.get("unseen"),
        train=QUICK.model_copy(update=changes) if options.train else False,
        threads=os.cpu_count() or 1,
        ssim_images=options.pairs or PAIRED,
        n_resamples=options.n_resamples,
        seed=options.seed,
        device=device,
        **own,
    )
    shown = own["pairs"].get("real", sets["real"].images)
    about = _describe(paths, sets, options, extractors) | {"pixels": list(shown.shape[1:])}
    if options.json:
        say(json.dumps(about | evaluation.to_dict(), indent=1))
    else:
        say(as_answer(evaluation))
        say(as_text(about, evaluation))
    return _hand_over(evaluation, sets, about, options)


def _hand_over(
    evaluation: "Evaluation",
    sets: Mapping[str, "ImageSet"],
    about: Mapping[str, Any],
    options: argparse.Namespace,
) -> int:
    """Write the files of the options, and raise MeddiffError where a number is too low."""
    if options.csv is not None:
        write_csv(evaluation.images, options.csv)
    if options.report is not None:
        from meddiff.assessment.report import settings_of, write_report

        settings = settings_of(about, vars(options))
        write_report(options.report, evaluation, sets["real"], sets["synthetic"], settings)
    low = [
        f"{name} is {value:.4g}, below {least:g}"
        for name, least in limits(options.fail_below).items()
        if not (value := evaluation.number(name)) >= least
    ]
    if low:
        raise MeddiffError("; ".join(low))
    return 0


def _list(paths: Mapping[str, Path], options: argparse.Namespace) -> dict[str, "Listing"]:
    """List the image sets by name, real ones with their groups."""
    from meddiff.data.grouping import groups_by
    from meddiff.evaluation.image_sets import list_enough_images

    choices = {name: getattr(options, name) for name in CHOICES}
    listings = {name: list_enough_images(path, **choices) for name, path in paths.items()}
    for name, listing in listings.items():
        if options.groups and name != "synthetic":
            rows = listing.rows.assign(group=groups_by(listing.rows, options.groups, paths[name]))
            listings[name] = replace(listing, rows=rows)
    return listings


def _warn_of_patients(listed: Mapping[str, "Listing"], used: Mapping[str, "Listing"]) -> None:
    """Warn where real images without groups look like several of one patient.

    Args:
        listed: sets as they are.
        used: the same, with their labels where all have the same classes.
    """
    from meddiff.data.grouping import grouped_by_name, kinds_of

    for name, each in used.items():
        if name == "synthetic" or each.rows["group"].notna().any():
            continue
        labels = each.rows["label"]
        kinds = list(labels) if labels.notna().all() else kinds_of(listed[name].rows["label"])
        if warning := grouped_by_name(list(each.rows["id"]), kinds, each.path):
            log.warning(warning)


def _check_limits(
    options: argparse.Namespace,
    listings: Mapping[str, "Listing"],
    extractors: Mapping[str, "Extractor"],
) -> None:
    """Refuse limits of numbers that this run cannot have, before anything is read."""
    names = limits(options.fail_below).keys() - {"accuracy"}
    if names:
        from meddiff.assessment.numbers import check_numbers

        check_numbers(
            names,
            extractors,
            {name: len(listings[name].rows) for name in ("real", "synthetic")},
            side=options.size,
            classes=bool(listings["real"].rows["label"].notna().any()),
        )


def _taken_whole(resize: str | None, extractors: Mapping[str, "Extractor"]) -> Collection[str]:
    """Return the extractors that take images whole: `--resize` is how inception does."""
    return {name for name, each in extractors.items() if resize and each.name == "inception"}


def _read(
    listings: Mapping[str, "Listing"], size: int, framing: "Framing"
) -> dict[str, "ImageSet"]:
    """Read the image sets by name, reduced to one size."""
    from meddiff.evaluation.image_sets import with_same_channels

    pixels = with_same_channels(
        {
            name: listing.pixels(crop=framing.crop, size=size, windows=framing.windows)
            for name, listing in listings.items()
        }
    )
    return {name: listing.image_set(pixels[name]) for name, listing in listings.items()}


def _small(listings: Mapping[str, "Listing"]) -> int:
    """Return the side in px at which copies are searched for: that of an array, if there is one."""
    from meddiff.core.arrays import load_images

    arrays = [each.path for each in listings.values() if each.path.suffix == ".npy"]
    return load_images(arrays[0]).shape[1] if arrays else SMALL


def _load_extractors(
    names: Sequence[str] | None, resize: "InceptionResize"
) -> dict[str, "Extractor"]:
    """Load extractors by name; two of one name keep what they were called by."""
    from meddiff.extractors.pretrained import load_default_extractor, load_extractor

    if not names:
        extractor = load_default_extractor(resize=resize)
        return {extractor.name: extractor}
    extractors: dict[str, Extractor] = {}
    for name in names:
        if name != "none":
            extractor = load_extractor(name, resize=resize)
            extractors[name if extractor.name in extractors else extractor.name] = extractor
    return extractors


def _describe(
    paths: Mapping[str, Path],
    sets: Mapping[str, "ImageSet"],
    options: argparse.Namespace,
    extractors: Mapping[str, "Extractor"],
) -> dict[str, Any]:
    """Describe what the scores are of."""
    return {
        "sets": {
            name: {"path": printable(str(paths[name]), "utf-8"), "n_images": len(images)}
            for name, images in sets.items()
        },
        "seed": options.seed,
        "extractors": {
            name: {
                "weights": each.weights,
                "digest": each.digest,
                "size": options.size or each.side or each.reduced_size,
                "caution": each.caution,
            }
            for name, each in extractors.items()
        },
    }


def _check_size(requested: int | None, extractors: Mapping[str, "Extractor"]) -> None:
    """Check that every extractor takes images of the size requested, if any."""
    for name, each in extractors.items():
        if each.size is not None and requested not in (None, each.size):
            raise MeddiffError(
                f"{name} takes images of {each.size} px only: give --size {each.size}, or no --size"
            )
