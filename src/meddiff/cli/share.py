"""`meddiff share`."""

import argparse

from meddiff.core.console import say

HELP = "record a finished run and push its files to the DVC remote"
USAGE = "meddiff share [options] [target ...] [snakemake's options]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own options."""
    parser.add_argument("--remote", metavar="NAME", help="a DVC remote other than the default one")
    parser.add_argument(
        "--without-raw", action="store_true", help="record raw archives but keep their bytes here"
    )
    parser.add_argument(
        "--prune", action="store_true", help="drop records of files that are not behind the targets"
    )


def run(options: argparse.Namespace, rest: list[str]) -> int:
    """Share the targets of Snakemake's arguments `rest`."""
    from meddiff.workflow.sharing.dag import open_plan
    from meddiff.workflow.sharing.share import share

    with open_plan(rest) as plan:
        share(plan, raw=not options.without_raw, prune=options.prune, to=options.remote, say=say)
    return 0
