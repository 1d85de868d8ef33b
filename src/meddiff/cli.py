"""The command `meddiff`: share, restore and verify what the workflow makes; evaluate any images.

Arguments that share, restore and verify do not know are Snakemake's: targets, `--profile`,
`--configfile`, `--config`, `--directory`. They must be the ones that the run was made with.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from meddiff.core.console import printable, run_command, say
from meddiff.core.errors import MeddiffError

if TYPE_CHECKING:
    from meddiff.extractors.extractor import Extractor

EVALUATE = """Are these synthetic images like these real ones? FID and KID between a floor (real
against real) and a ceiling (noise), precision and recall, variety, copies of training images."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, or 1 with one line that says what is wrong."""
    return run_command(partial(_run, argv))


def _run(argv: Sequence[str] | None) -> int:
    options, rest = _parser().parse_known_args(argv)
    command: Callable[[argparse.Namespace, list[str]], int] = options.command
    return command(options, rest)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="meddiff", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="share | restore | verify | evaluate")

    def add(name: str, run: Callable[..., int], text: str) -> argparse.ArgumentParser:
        usage = f"meddiff {name} [options] [target ...] [snakemake's options]"
        sub = commands.add_parser(name, help=text, description=text, usage=usage,
                                  allow_abbrev=False)  # fmt: skip
        sub.set_defaults(command=run)
        return sub

    sharing = add("share", _share, "record a finished run and push its files to the DVC remote")
    sharing.add_argument("--remote", metavar="NAME", help="a DVC remote other than the default one")
    sharing.add_argument("--without-raw", action="store_true",
                         help="record raw archives but keep their bytes here")  # fmt: skip
    sharing.add_argument("--prune", action="store_true",
                         help="drop records of files that are not behind the targets")  # fmt: skip
    restoring = add("restore", _restore, "fetch the shared files that a target needs, and no more")
    restoring.add_argument("--remote", metavar="NAME", help="a DVC remote other than the default")
    restoring.add_argument("--everything", action="store_true",
                           help="fetch every shared file behind the targets")  # fmt: skip
    restoring.add_argument("--replace", action="store_true",
                           help="set aside targets that differ from what was shared")  # fmt: skip
    verifying = add("verify", _verify, "tell what a table was made from, and prove it")
    verifying.add_argument("--remote", metavar="NAME", help="a DVC remote other than the default")
    verifying.add_argument("--cell", metavar="COLUMN=VALUE,…",
                           help="tell all about the cells of these rows")  # fmt: skip
    verifying.add_argument("--json", action="store_true", help="print everything as JSON")
    scoring = commands.add_parser("evaluate", help="score synthetic images against real ones",
                                  description=EVALUATE, allow_abbrev=False)  # fmt: skip
    scoring.set_defaults(command=_evaluate)
    scoring.add_argument("real", type=Path, help="folder, zip, tar or .npy of real images")
    scoring.add_argument("synthetic", type=Path, help="the same of synthetic ones")
    scoring.add_argument("--unseen", type=Path, metavar="IMAGES",
                         help="real images that the generator has not learnt from, where it has "
                              "from REAL: tells copies")  # fmt: skip
    scoring.add_argument("--extractor", action="append", metavar="NAME|FILE",
                         help="inception (the default), radimagenet, dinov2, clip, or a checkpoint "
                              "such as models/skinlesnet.safetensors; may be repeated; none for "
                              "SSIM alone")  # fmt: skip
    scoring.add_argument(
        "--size",
        type=int,
        metavar="PX",
        help="side that files are reduced to (what the extractor's file asks for, else 64); 32 or "
        "more for MS-SSIM",
    )
    scoring.add_argument("--crop", type=int, help="side of the centre crop in px; else the largest")
    scoring.add_argument("--pairs", type=int, default=500,
                         help="images of each set whose pairs SSIM takes (500)")  # fmt: skip
    scoring.add_argument("--n-resamples", type=int, default=200,
                         help="half-samples behind each interval (200)")  # fmt: skip
    scoring.add_argument("--seed", type=int, default=0)
    scoring.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"])
    scoring.add_argument("--json", action="store_true", help="print everything as JSON")
    return parser


def _share(options: argparse.Namespace, rest: list[str]) -> int:
    from meddiff.workflow.sharing.dag import open_plan
    from meddiff.workflow.sharing.share import share

    with open_plan(rest) as plan:
        share(plan, raw=not options.without_raw, prune=options.prune, to=options.remote, say=say)
    return 0


def _restore(options: argparse.Namespace, rest: list[str]) -> int:
    from meddiff.workflow.sharing import restore
    from meddiff.workflow.sharing.dag import check_lock, in_run_directory, open_plan

    origin = options.remote
    if options.replace:
        with in_run_directory(rest) as (root, run, targets):
            check_lock()
            restore.replace(targets, root, run, origin, say)
    with open_plan(rest) as plan:
        count = restore.restore(plan, everything=options.everything, origin=origin, say=say)
    with open_plan(rest) as plan:
        rules = sorted({step.rule for step in plan.planned})
        say(f"fetched and verified {count} files")
        say(
            f"snakemake would now run {len(plan.planned)} jobs ({', '.join(rules)})"
            if plan.planned
            else f"snakemake has nothing to do for {' '.join(plan.targets)}"
        )
    return 0


def _verify(options: argparse.Namespace, rest: list[str]) -> int:
    from meddiff.workflow.sharing.dag import open_plan
    from meddiff.workflow.sharing.verify import verify

    with open_plan(rest, reading=True) as plan:
        return verify(plan, cell=options.cell, as_json=options.json, origin=options.remote, say=say)


def _evaluate(options: argparse.Namespace, rest: list[str]) -> int:
    from meddiff.core.devices import choose_device
    from meddiff.evaluation.evaluate import evaluate
    from meddiff.evaluation.image_sets import read_image_set
    from meddiff.evaluation.text import as_text
    from meddiff.extractors.pretrained import load_extractor

    if rest:
        raise MeddiffError(f"evaluate does not know {' '.join(rest)}: see meddiff evaluate --help")
    paths = {"real": options.real, "synthetic": options.synthetic, "unseen": options.unseen}
    paths = {name: path for name, path in paths.items() if path is not None}
    if missing := [str(path) for path in paths.values() if not path.exists()]:
        raise MeddiffError(f"there is no {' and no '.join(missing)}: name folders of images")
    for name, least in {"size": 2, "crop": 1, "pairs": 4, "n_resamples": 4, "seed": 0}.items():
        value = getattr(options, name)
        if value is not None and value < least:
            raise MeddiffError(f"--{name.replace('_', '-')} is {value}: it must be {least} or more")
    device = choose_device(options.device)
    extractors: dict[str, Extractor] = {}
    for name in options.extractor or ["inception"]:
        if name != "none":
            extractor = load_extractor(name)
            extractors[name if extractor.name in extractors else extractor.name] = extractor
    size = _size(options.size, extractors)
    windows: dict[str, tuple[float, float]] = {}
    sets = {
        name: read_image_set(path, crop=options.crop, size=size, windows=windows)
        for name, path in paths.items()
    }
    evaluation = evaluate(
        **sets,
        extractors=extractors,
        ssim_images=options.pairs,
        n_resamples=options.n_resamples,
        seed=options.seed,
        device=device,
    )
    about = {
        "sets": {
            name: {"path": printable(str(paths[name]), "utf-8"), "n_images": len(images)}
            for name, images in sets.items()
        },
        "pixels": list(sets["real"].shape[1:]),
        "seed": options.seed,
        "extractors": {name: {"weights": e.weights, "digest": e.digest}
                       for name, e in extractors.items()},
    }  # fmt: skip
    if options.json:
        say(json.dumps(about | evaluation.to_dict(), indent=1))
    else:
        say(as_text(about, evaluation))
    return 0


def _size(asked: int | None, extractors: Mapping[str, "Extractor"]) -> int:
    """Return the side of images in px: as asked, or as an extractor needs it."""
    needed = {found.size: name for name, found in extractors.items() if found.size is not None}
    for size, name in needed.items():
        if asked not in (None, size):
            raise MeddiffError(f"{name} takes images of {size} px only: give --size {size}")
    if len(needed) > 1:
        told = ", ".join(f"{name} {size} px" for size, name in needed.items())
        raise MeddiffError(f"extractors take images of different sizes ({told}): name one a run")
    return asked or next(iter(needed), 64)


if __name__ == "__main__":
    sys.exit(main())
