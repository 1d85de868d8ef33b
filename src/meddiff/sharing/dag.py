"""Snakemake's DAG as a plan. Everything that touches Snakemake's inner workings stands here."""

import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from meddiff.errors import MeddiffError
from meddiff.provenance.record import plain
from meddiff.sharing.plan import Plan, Step

LOCKS = Path(".snakemake/locks")


def plan_of(dag: Any, root: Path, targets: Sequence[str] = ()) -> Plan:
    """Return a built DAG as a plan.

    Args:
        dag: `workflow.dag`.
        root: the project's root.
        targets: files asked for; without any, what the target jobs make or, like `all`, take.
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
    return Plan(root, Path.cwd(), steps, tuple(asked), not targets)


@contextlib.contextmanager
def open_plan(arguments: Sequence[str]) -> Iterator[Plan]:
    """Yield the plan of a Snakemake command line, in its run directory.

    Args:
        arguments: what would follow `snakemake`: targets, `--profile`, `--configfile`,
            `--directory`, `--config`.

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
        OutputSettings,
        ResourceSettings,
    )

    args = _parse(arguments)
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        try:
            workflow = api.workflow(
                resource_settings=ResourceSettings(cores=1),
                config_settings=ConfigSettings(
                    config=parse_config(args.config),
                    configfiles=args.configfile,
                    config_args=args.config,
                ),
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
            plan = plan_of(inner.dag, Path(inner.basedir), targets)
            if any(LOCKS.glob("*")):
                raise MeddiffError(
                    f"a workflow runs in {plan.run}: wait until it has ended (if it was killed, "
                    "unlock the run with snakemake --unlock)"
                )
        except MeddiffError:
            raise
        except Exception as error:
            raise MeddiffError(_explain(error)) from None
        yield plan


@contextlib.contextmanager
def in_run_directory(arguments: Sequence[str]) -> Iterator[list[str]]:
    """Enter the run directory of a Snakemake command line and yield its targets."""
    args = _parse(arguments)
    with contextlib.chdir(args.directory or "."):
        yield list(args.targets)


def _parse(arguments: Sequence[str]) -> Any:
    from snakemake.cli import parse_args

    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            _, args = parse_args(list(arguments))
    except SystemExit:
        raise MeddiffError(told.getvalue().strip().splitlines()[-1]) from None
    return args


def _explain(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "\n".join(lines) or f"Snakemake cannot plan: {type(error).__name__}"
