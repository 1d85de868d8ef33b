"""`meddiff restore`."""

import argparse

from meddiff.core.console import say

HELP = "fetch the shared files that a target needs, and no more"
USAGE = "meddiff restore [options] [target ...] [snakemake's options]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own options."""
    parser.add_argument("--remote", metavar="NAME", help="a DVC remote other than the default one")
    parser.add_argument(
        "--everything", action="store_true", help="fetch every shared file behind the targets"
    )
    parser.add_argument(
        "--replace", action="store_true", help="set aside targets that differ from what was shared"
    )


def run(options: argparse.Namespace, rest: list[str]) -> int:
    """Restore the targets of Snakemake's arguments `rest`."""
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
