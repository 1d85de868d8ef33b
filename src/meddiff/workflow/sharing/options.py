"""Options of Snakemake that would invalidate records: refused in one line."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from meddiff.core.errors import MeddiffError

NEEDED_TRIGGERS = {"mtime", "params", "input"}
"""Changes that Snakemake must look for: code is a parameter."""
NEEDED_SHARED = {"persistence", "input-output"}
"""What all jobs must have in common, wherever they run."""

DRY_OPTIONS = ("dryrun", "dag", "rulegraph", "filegraph", "summary", "detailed_summary",
               "list_rules", "list_target_rules", "list_changes", "list_input_changes",
               "list_params_changes", "list_untracked", "lint")  # fmt: skip
"""Options of commands that run nothing."""


def check_options(args: Any) -> None:
    """Raise if an option of Snakemake goes past the records: results could be stale or lost."""
    check_backend(args)
    if refused := list(_refused(args)):
        raise MeddiffError("\n".join(refused))
    changed = args.configfile or any(not each.startswith("rebuild=") for each in args.config or ())
    if changed and not args.directory and Path("workflow/Snakefile").is_file():
        from snakemake.logging import logger

        logger.warning(
            "another configuration in the project's root: its results would replace those of "
            "config/config.yaml; give it a run of its own with --directory runs/<name>"
        )


def check_backend(settings: Any) -> None:
    """Raise where Snakemake keeps its metadata elsewhere than records go, however it is run."""
    if settings.persistence_backend.item_to_choice() != "file":
        raise MeddiffError(
            "--persistence-backend db is not for this workflow: its records (docs/sharing.md) go "
            "with Snakemake's files alone, and all would be trained again; leave the option out"
        )


def check_module(modifier: Any) -> None:
    """Raise where the workflow is a module whose files another workflow has moved."""
    if modifier.modify_path("data/images") != "data/images":
        raise MeddiffError(
            "module meddiff: its files cannot have a `prefix`, since records and tables name them; "
            "leave it out, and run in a folder of its own with --directory"
        )


def options_of_this_run(root: Path) -> Any | None:
    """Return the options of the `snakemake` command that this process runs; None if it is none.

    Snakemake has entered the run directory by now and does not say from where, though `--profile`
    and `--directory` may be relative to that folder.
    """
    program, run = Path(sys.argv[0]), Path.cwd()
    if program.stem != "snakemake" and program.parent.name != "snakemake":
        return None
    for started in (os.environ.get("PWD", root), root, run, *run.parents):
        with contextlib.suppress(MeddiffError, OSError), contextlib.chdir(started):
            options = parse_options(sys.argv[1:])
            if Path(options.directory or ".").resolve() == run.resolve():
                return options
    return None


def parse_options(arguments: Sequence[str]) -> Any:
    """Return the options of a Snakemake command line with those of its profiles."""
    from snakemake.cli import parse_args

    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            return parse_args(list(arguments))[1]
    except SystemExit:
        raise MeddiffError(printed.getvalue().strip().splitlines()[-1]) from None


def is_dry(args: Any) -> bool:
    """Return whether a command plans or shows the workflow and runs nothing."""
    return any(getattr(args, name, None) for name in DRY_OPTIONS)


def _refused(args: Any) -> Iterator[str]:
    if args.drop_metadata:
        yield "--drop-metadata would have every job run again the next time: leave it out"
    if args.ignore_incomplete:
        yield (
            "--ignore-incomplete would take what a killed job left for a result: leave it out, "
            "and the job runs again"
        )
    if args.no_hooks:
        yield (
            "--no-hooks would skip the checks before a run, which keep your own files and what is "
            "shared from being overwritten: leave it out"
        )
    triggers = {trigger.item_to_choice() for trigger in args.rerun_triggers}
    if lacking := sorted(NEEDED_TRIGGERS - triggers):
        yield (
            f"--rerun-triggers without {', '.join(lacking)} would miss stale results: "
            "leave the option out"
        )
    shared = {usage.item_to_choice() for usage in args.shared_fs_usage}
    if lacking := sorted(NEEDED_SHARED - shared):
        yield (
            f"--shared-fs-usage without {', '.join(lacking)} would lose the jobs' records: run on "
            "a file system that all jobs share"
        )
    if args.default_storage_provider:
        yield (
            "--default-storage-provider would keep files where records do not reach: run on a "
            "local folder, and share it with `meddiff share`"
        )
