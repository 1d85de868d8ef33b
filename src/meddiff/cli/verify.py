"""`meddiff verify`."""

import argparse

from meddiff.core.console import say

HELP = "print what a table was made from, and prove it"
USAGE = "meddiff verify [options] [target ...] [snakemake's options]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own options."""
    parser.add_argument("--remote", metavar="NAME", help="a DVC remote other than the default one")
    parser.add_argument(
        "--cell", metavar="COLUMN=VALUE,…", help="print all about the cells of these rows"
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(options: argparse.Namespace, rest: list[str]) -> int:
    """Verify the targets of Snakemake's arguments `rest`."""
    from meddiff.workflow.sharing.dag import open_plan
    from meddiff.workflow.sharing.verify import verify

    with open_plan(rest, reading=True) as plan:
        return verify(plan, cell=options.cell, as_json=options.json, origin=options.remote, say=say)
