"""`meddiff show`, `share`, `restore` and `verify`: the results of runs."""

import argparse
from pathlib import Path

from meddiff.core.console import say
from meddiff.core.errors import MeddiffError


def add_show_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `show`."""
    parser.add_argument("table", type=Path, nargs="+", help="one of results/*.csv")


def show(options: argparse.Namespace, rest: list[str]) -> int:
    """Print the tables."""
    from meddiff.reporting.show import show

    for path in options.table:
        if path.suffix != ".csv" or not path.is_file():
            raise MeddiffError(f"there is no table {path}: name one of results/*.csv")
        say(show(path))
    return 0


def add_share_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `share`."""
    parser.add_argument(
        "--without-raw", action="store_true", help="record raw archives but keep their bytes here"
    )
    parser.add_argument(
        "--prune", action="store_true", help="drop records of files that are not behind the targets"
    )


def share(options: argparse.Namespace, rest: list[str]) -> int:
    """Share the targets of Snakemake's arguments `rest`."""
    from meddiff.workflow.sharing.dag import open_plan
    from meddiff.workflow.sharing.share import share

    with open_plan(rest) as plan:
        share(plan, raw=not options.without_raw, prune=options.prune, to=options.remote, say=say)
    return 0


def add_restore_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `restore`."""
    parser.add_argument(
        "--everything", action="store_true", help="fetch every shared file behind the targets"
    )
    parser.add_argument(
        "--replace", action="store_true", help="set aside targets that differ from what was shared"
    )


def restore(options: argparse.Namespace, rest: list[str]) -> int:
    """Restore the targets of Snakemake's arguments `rest`."""
    from meddiff.workflow.sharing.dag import check_lock, in_run_directory, open_plan
    from meddiff.workflow.sharing.restore import replace, restore

    if options.replace:
        with in_run_directory(rest) as (root, run, targets):
            check_lock()
            replace(targets, root, run, options.remote, say)
    with open_plan(rest) as plan:
        count = restore(plan, everything=options.everything, origin=options.remote, say=say)
    with open_plan(rest) as plan:
        rules = sorted({step.rule for step in plan.planned})
        say(f"fetched and verified {count} files")
        say(
            f"snakemake would now run {len(plan.planned)} jobs ({', '.join(rules)})"
            if plan.planned
            else f"snakemake has nothing to do for {' '.join(plan.targets)}"
        )
    return 0


def add_verify_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `verify`."""
    parser.add_argument(
        "--cell", metavar="COLUMN=VALUE,…", help="print all about the cells of these rows"
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def verify(options: argparse.Namespace, rest: list[str]) -> int:
    """Verify the targets of Snakemake's arguments `rest`."""
    from meddiff.workflow.sharing.dag import open_plan
    from meddiff.workflow.sharing.verify import verify

    with open_plan(rest, reading=True) as plan:
        return verify(plan, cell=options.cell, as_json=options.json, origin=options.remote, say=say)
