"""What a run does around its jobs: options, records of collaborators, checks, where the page is."""

import os
import shutil
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from snakemake.logging import logger
from snakemake.settings.types import ExecMode

from meddiff.core.errors import MeddiffError, first_names
from meddiff.data.download.local import find_local
from meddiff.data.download.part import PartialFile
from meddiff.data.registry import address_of, read_registry
from meddiff.workflow.archives import FETCHED, downloads_among
from meddiff.workflow.config import Config
from meddiff.workflow.conventions import FOLDERS
from meddiff.workflow.estimate import estimate
from meddiff.workflow.provenance.digests import sha256_here
from meddiff.workflow.provenance.record import Records
from meddiff.workflow.provenance.store import read_effective
from meddiff.workflow.sharing.dag import plan_of
from meddiff.workflow.sharing.metadata import MetadataStore
from meddiff.workflow.sharing.options import (
    check_backend,
    check_module,
    check_options,
    is_dry,
    options_of_this_run,
)
from meddiff.workflow.sharing.plan import Plan
from meddiff.workflow.sharing.readonly import enter_stand_in, is_read_only
from meddiff.workflow.sharing.sync import keep_metadata, sync_metadata
from meddiff.workflow.targets import PAGE


def begin(workflow: Any, root: Path, run: Path, cfg: Config) -> Records:
    """Prepare planning; return the shared records."""
    check_backend(workflow.workflow_settings)
    check_module(workflow.modifier)
    for key, names in cfg.absent_classes.items():
        logger.warning(f"{key}: {', '.join(names)} ignored, not in data.classes {cfg.data.classes}")
    if options := options_of_this_run(root):
        check_options(options)
    if is_read_only(run):
        enter_stand_in(run, planning=is_dry(options))
    return sync_metadata()


def is_main(workflow: Any) -> bool:
    """Return whether this process plans, and is not that of a single job."""
    return bool(workflow.exec_mode == ExecMode.DEFAULT)


def targets_of(workflow: Any) -> Collection[str] | None:
    """Return what a run of Snakemake makes; None in a job of its own, before which all is made."""
    return workflow.dag_settings.targets if is_main(workflow) else None


def targets_here(root: Path) -> list[str]:
    """Return what the command line asks for, before Snakemake has planned anything."""
    options = options_of_this_run(root)
    return [*options.targets, *(options.until or [])] if options else []


def keep_hooks(workflow: Any, names: Mapping[str, Any]) -> None:
    """Have Snakemake call the hooks of this workflow where it is a module, too.

    Snakemake leaves that to the workflow that uses the module. One that has hooks of its own below
    the module replaces these, and calls them itself (`meddiff.onstart()`).
    """
    if workflow.modifier.is_main_snakefile():
        return
    for name in ("onstart", "onsuccess", "onerror"):
        setattr(workflow, f"_{name}", partial(_both, getattr(workflow, f"_{name}"), names[name]))


def _both(outer: Callable[[Any], None], own: Callable[[], None], log: Any) -> None:
    own()
    outer(log)


def end(workflow: Any) -> None:
    """Keep Snakemake's metadata of finished jobs, and say where the page is if it is the run's."""
    keep_metadata()
    outputs = {str(file) for job in workflow.dag.jobs for file in job.output}
    if is_main(workflow) and PAGE in outputs and Path(PAGE).is_file():
        logger.info(f"the run on one page, for any browser: {Path(PAGE).absolute()}")


def check_jobs(
    workflow: Any,
    cfg: Config,
    root: Path,
    shared: Records,
    rules: Collection[str],
    *,
    rebuild: bool,
) -> None:
    """Check the planned jobs of these rules before the first of all jobs starts."""
    if not rebuild:
        plan = plan_of(workflow.dag, root)
        _check_rebuild(plan, rules, shared, workflow.dag_settings.targets)
    outputs = [str(file) for job in workflow.dag.needrun_jobs() for file in job.output]
    files = downloads_among(outputs)
    places = {file: find_local(file, cfg.data.archives, root) for file in files}
    local = {file: place.path for file, place in places.items() if place}
    check_run(files, cfg.data.mirrors, local)
    benchmarks = [job.benchmark for job in workflow.dag.needrun_jobs()]
    if text := estimate(benchmarks, workflow.resource_settings.cores or 1):
        logger.info(text)


def _check_rebuild(
    plan: Plan, rules: Collection[str], shared: Records, targets: Collection[str]
) -> None:
    """Raise if jobs would overwrite a file of another origin, or make again what is shared."""
    records, metadata = read_effective(), MetadataStore()
    planned = [step for step in plan.planned if step.rule in rules]
    outputs = [path for step in planned for path in step.outputs]
    here = [path for path in outputs if Path(path).is_file() and path not in records]
    # A job that was killed leaves incomplete files without records.
    if unrecorded := [path for path in here if not metadata.is_incomplete(path)]:
        raise MeddiffError(
            "not made by this workflow here, and about to be overwritten: "
            f"{first_names(unrecorded)}; move them away"
        )
    again = [path for step in planned if plan.is_shared(step, shared) for path in step.outputs]
    if again:
        required = plan.required_files(plan.targets, shared)
        missing = [path for path in required if sha256_here(path) != shared[path].sha256]
        raise MeddiffError(
            f"this run would compute again what is shared: {first_names(missing or again)}\n"
            f"get it with `{' '.join(['meddiff restore', *sorted(targets)])}` and the options of "
            "this command, or compute it again with `--config rebuild=true`"
        )


def check_run(
    downloads: Collection[str], mirrors: Mapping[str, str], local: Mapping[str, Path] | None = None
) -> None:
    """Stop a run without room for its downloads, Kaggle credentials or a writable folder.

    Args:
        local: where those of the downloads lie that a folder of the user has.
    """
    local = local or {}
    for name in FOLDERS:
        if not os.access(_nearest(Path(name)), os.W_OK):
            raise MeddiffError(
                f"cannot write to {name}/: the folder is read-only; make it writable, or run in "
                "another folder with --directory runs/<name>"
            )
    fetched = [file for file in downloads if file not in local]
    if any(address_of(file, mirrors).startswith("kaggle:") for file in fetched):
        from meddiff.data.download.kaggle import check_kaggle_credentials

        check_kaggle_credentials()
    check_space(fetched, local.values())


def check_space(downloads: Collection[str], copies: Collection[Path]) -> None:
    """Stop a run without room for what is left of its downloads, and for copies of files.

    Sizes are the published ones; unknown sizes count as none.
    """
    sizes = [max(_size(file) - PartialFile(Path(FETCHED, file)).length, 0) for file in downloads]
    sizes += [file.stat().st_size for file in copies]
    needed = sum(sizes) / 1e9
    folder = _nearest(Path("data/raw"))
    free = shutil.disk_usage(folder).free / 1e9
    if needed > free:
        raise MeddiffError(
            f"the downloads take {needed:.1f} GB but {folder} has {free:.1f} GB free: make room, "
            "run on another disk with --directory, or leave an edition out of data.editions"
        )


def _size(file: str) -> int:
    return int((read_registry()[file].megabytes or 0) * 1e6)


def _nearest(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())
