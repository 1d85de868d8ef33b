"""Snakemake's DAG as a plan: what is asked of Snakemake's Python objects, public or not.

Its files in `.snakemake` are the business of `adoption.py`.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from meddiff.core.errors import MeddiffError
from meddiff.core.file_errors import permission_error
from meddiff.workflow.provenance.record import plain
from meddiff.workflow.sharing.options import check_options, parse_options
from meddiff.workflow.sharing.plan import Plan, Step

LOCKS = Path(".snakemake/locks")


def plan_of(
    dag: Any,
    root: Path,
    targets: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
    overlays: bool = False,
) -> Plan:
    """Return a built DAG as a plan.

    Args:
        dag: `workflow.dag`.
        root: the project's root.
        targets: files asked for; without any, what the target jobs make or, like `all`, take.
        config: the merged configuration.
        overlays: whether it is more than config/config.yaml.
    """
    planned = set(dag.needrun_jobs())
    jobs = [job for level in dag.toposorted() for job in level]
    steps = tuple(
        Step(
            rule=job.rule.name,
            inputs=tuple(map(str, job.input)),
            outputs=tuple(map(str, job.output)),
            params=plain(job.params),
            planned=job in planned,
        )
        for job in jobs
    )
    asked = targets or [str(path) for job in dag.targetjobs for path in (job.output or job.input)]
    return Plan(root, Path.cwd(), steps, tuple(asked), dict(config or {}), overlays)


@contextlib.contextmanager
def open_plan(arguments: Sequence[str], *, reading: bool = False) -> Iterator[Plan]:
    """Yield the plan of a Snakemake command line, in its run directory.

    Args:
        arguments: what would follow `snakemake`: targets, `--profile`, `--configfile`,
            `--directory`, `--config`.
        reading: write nothing, so that a user who may only read the run gets its steps too;
            which of them are planned is not known then.

    Raises:
        MeddiffError: Snakemake cannot plan, e.g. since the configuration is wrong or no rule makes
            a target.
    """
    from snakemake.api import SnakemakeApi
    from snakemake.cli import parse_config
    from snakemake.settings.enums import Quietness
    from snakemake.settings.types import (
        ConfigSettings,
        DAGSettings,
        ExecMode,
        OutputSettings,
        ResourceSettings,
        SharedFSUsage,
        StorageSettings,
        WorkflowSettings,
    )

    args = parse_options(arguments)
    check_options(args)
    for option in ("until", "omit_from", "forcerun", "forceall"):
        if getattr(args, option):
            name = option.replace("_", "-")
            raise MeddiffError(f"--{name} is not for this command: name the targets themselves")
    # Snakemake's cache of sources would need a home directory, its notes the run directory. A
    # process that is not the main one takes them elsewhere, and adopts nothing.
    own = {SharedFSUsage.SOURCE_CACHE, *([SharedFSUsage.PERSISTENCE] if reading else [])}
    mode = ExecMode.REMOTE if reading else ExecMode.DEFAULT
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        try:
            workflow = api.workflow(
                resource_settings=ResourceSettings(cores=1),
                config_settings=ConfigSettings(
                    config=parse_config(args.config),
                    configfiles=args.configfile,
                    config_args=args.config,
                ),
                storage_settings=StorageSettings(shared_fs_usage=SharedFSUsage.all() - own),
                workflow_settings=WorkflowSettings(exec_mode=mode),
                snakefile=args.snakefile,
                workdir=args.directory,
            )
            graph = workflow.dag(
                dag_settings=DAGSettings(
                    targets=args.targets,
                    force_incomplete=True,
                    rerun_triggers=args.rerun_triggers,
                    max_checksum_file_size=args.max_checksum_file_size,
                )
            )
            inner = graph.workflow_api._workflow
            inner._prepare_dag(forceall=False, ignore_incomplete=True, lock_warn_only=True)
            inner._build_dag()
            files = [target for target in args.targets if not inner.is_rule(target)]
            targets = files if len(files) == len(args.targets) else []
            overlays = bool(args.configfile or args.config)
            plan = plan_of(inner.dag, Path(inner.basedir), targets, inner.config, overlays)
            check_lock()
        except MeddiffError:
            raise
        except Exception as error:
            raise permission_error(error) or MeddiffError(_explain(error)) from None
        yield plan


def check_lock() -> None:
    """Raise a MeddiffError while a workflow runs in the working directory."""
    if any(LOCKS.glob("*")):
        raise MeddiffError(
            f"a workflow runs in {Path.cwd()}: wait until it has ended (if it was killed, unlock "
            "the run with snakemake --unlock)"
        )


@contextlib.contextmanager
def in_run_directory(arguments: Sequence[str]) -> Iterator[tuple[Path, Path, list[str]]]:
    """Enter the run directory of a command line; yield the project's root, it, and the targets."""
    args = parse_options(arguments)
    root = Path(args.snakefile).resolve().parent if args.snakefile else Path.cwd()
    with contextlib.chdir(args.directory or "."):
        yield root, Path.cwd(), list(args.targets)


def _explain(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "\n".join(lines) or f"Snakemake cannot plan: {type(error).__name__}"
