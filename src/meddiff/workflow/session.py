"""What a run does before its first job: options, records of collaborators, checks."""

from pathlib import Path
from typing import Any

from meddiff.workflow.archives import downloads_among
from meddiff.workflow.config import Config
from meddiff.workflow.preflight import check_run
from meddiff.workflow.provenance.record import Records
from meddiff.workflow.sharing.dag import plan_of
from meddiff.workflow.sharing.guard import check_rebuild
from meddiff.workflow.sharing.options import check_options, is_dry, options_of_this_run
from meddiff.workflow.sharing.readonly import enter_stand_in, is_read_only
from meddiff.workflow.sharing.sync import sync_metadata


def begin(root: Path, run: Path) -> Records:
    """Prepare planning; return the shared records."""
    if options := options_of_this_run(root):
        check_options(options)
    if is_read_only(run):
        enter_stand_in(run, planning=is_dry(options))
    return sync_metadata()


def check_jobs(workflow: Any, cfg: Config, root: Path, shared: Records, *, rebuild: bool) -> None:
    """Check the planned jobs before the first of them starts."""
    if not rebuild:
        check_rebuild(plan_of(workflow.dag, root), shared, workflow.dag_settings.targets)
    outputs = [str(file) for job in workflow.dag.needrun_jobs() for file in job.output]
    check_run(downloads_among(outputs), cfg.data.mirrors)
