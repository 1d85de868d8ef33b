"""Results of runs: `meddiff show`, `share`, `restore`, `verify`, `export`, `pack`, `unpack`."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from meddiff.core.console import say
from meddiff.core.errors import MeddiffError

FLAG = {"action": "store_true"}
Arguments = Mapping[str, Mapping[str, Any]]
"""Names of arguments, and the keywords of `add_argument`."""
SHOW: Arguments = {"table": {"type": Path, "nargs": "+", "help": "one of results/*.csv"}}
SHARE: Arguments = {
    "--without-raw": FLAG | {"help": "share records of raw archives, but not the archives"},
    "--prune": FLAG | {"help": "drop records of files that the targets do not depend on"},
}
RESTORE: Arguments = {
    "--everything": FLAG | {"help": "fetch every shared file behind the targets"},
    "--replace": FLAG | {"help": "set aside and replace targets that differ from the shared ones"},
}
PACK: Arguments = {
    "file": {"type": Path, "help": "the zip to write"},
    "runs": {"type": Path, "nargs": "+", "help": "run directories, such as runs/thesis"},
    "--largest": {
        "type": float,
        "default": 16,
        "metavar": "MB",
        "help": "leave out larger files, except image sets (16)",
    },
}
UNPACK: Arguments = {"file": {"type": Path, "help": "a zip of meddiff pack"}}
EXPORT: Arguments = {
    "file": {"type": Path, "help": "the zip to write"},
    "--license": {
        "required": True,
        "metavar": "NAME|URL",
        "help": "the licence of the results: an SPDX identifier such as CC-BY-4.0, or a URL",
    },
    "--largest": {
        "type": float,
        "default": 16,
        "metavar": "MB",
        "help": "include only the digest of larger files, except results (16)",
    },
    "--real-images": FLAG
    | {
        "help": "include files that show real images, or name images or patients; otherwise "
        "only their digests; raw data are never included"
    },
}
VERIFY: Arguments = {
    "--cell": {"metavar": "COLUMN=VALUE,…", "help": "list every file behind these rows' cells"},
    "--json": FLAG | {"help": "print everything as JSON"},
}


def show(options: argparse.Namespace, rest: list[str]) -> int:
    """Print the tables."""
    from meddiff.reporting.show import show

    for path in options.table:
        if path.suffix != ".csv" or not path.is_file():
            raise MeddiffError(f"there is no table {path}: name one of results/*.csv")
        say(show(path))
    return 0


def share(options: argparse.Namespace, rest: list[str]) -> int:
    """Share the targets of Snakemake's arguments `rest`."""
    from meddiff.workflow.sharing.dag import open_plan
    from meddiff.workflow.sharing.share import share

    with open_plan(rest) as plan:
        share(plan, raw=not options.without_raw, prune=options.prune, to=options.remote, say=say)
    return 0


def pack(options: argparse.Namespace, rest: list[str]) -> int:
    """Write runs to a zip."""
    from meddiff.workflow.sharing.carry import pack

    pack(options.runs, options.file, largest=int(options.largest * 1e6), say=say)
    return 0


def unpack(options: argparse.Namespace, rest: list[str]) -> int:
    """Take the runs out of a zip."""
    from meddiff.workflow.sharing.carry import unpack

    unpack(options.file, say)
    return 0


def export(options: argparse.Namespace, rest: list[str]) -> int:
    """Write a run, or some of its results, as an RO-Crate."""
    from meddiff.workflow.sharing.crate import Content, export
    from meddiff.workflow.sharing.dag import in_run_directory

    target = options.file.absolute()
    with in_run_directory(rest) as (root, _, results):
        content = Content(int(options.largest * 1e6), options.real_images)
        export(target, root, results, content, license=options.license, say=say)
    return 0


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


def verify(options: argparse.Namespace, rest: list[str]) -> int:
    """Verify the targets of Snakemake's arguments `rest`."""
    from meddiff.workflow.sharing.dag import open_plan
    from meddiff.workflow.sharing.verify import verify

    with open_plan(rest, reading=True) as plan:
        return verify(plan, cell=options.cell, as_json=options.json, origin=options.remote, say=say)
