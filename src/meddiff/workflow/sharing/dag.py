"""Snakemake's DAG as a plan, of a command line or of a run that is about to start."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from meddiff.core.errors import MeddiffError
from meddiff.core.file_errors import permission_error
from meddiff.workflow.conventions import project_root
from meddiff.workflow.provenance.recording import plain_params
from meddiff.workflow.sharing.options import check_options, parse_options
from meddiff.workflow.sharing.plan import Plan, PlanStep

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
        targets: requested files; without any, what the target jobs make or, like `all`, take.
        overlays: whether it is more than config/config.yaml.
    """
    planned = set(dag.needrun_jobs())
    jobs = [job for level in dag.toposorted() for job in level]
    steps = tuple(
        PlanStep(
            rule=job.rule.name,
            inputs=tuple(map(str, job.input)),
            outputs=tuple(map(str, job.output)),
            params=plain_params(job.params),
            planned=job in planned,
            gpu=bool(job.resources.get("gpu")),
        )
        for job in jobs
    )
    files = targets or [str(path) for job in dag.targetjobs for path in (job.output or job.input)]
    return Plan(root, Path.cwd(), steps, tuple(files), dict(config or {}), overlays)


@contextlib.contextmanager
def open_plan(arguments: Sequence[str], *, reading: bool = False) -> Iterator[Plan]:
    """Yield the plan of a Snakemake command line, in its run directory.

    Args:
        arguments: what would follow `snakemake`: targets, `--profile`, `--configfile`,
            `--directory`, `--config`. Targets in runs/<name>/ stand for that run's options.
        reading: write nothing, so that a user who may only read the run gets its steps too;
            which of them are planned is left open then.
    """
    from snakemake.api import SnakemakeApi
    from snakemake.settings.enums import Quietness
    from snakemake.settings.types import OutputSettings

    args = _options_of_run(arguments)
    check_options(args)
    for option in ("until", "omit_from", "forcerun", "forceall"):
        if getattr(args, option):
            name = option.replace("_", "-")
            raise MeddiffError(f"--{name} is not for this command: name the targets themselves")
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        with _explained():
            workflow = _build(api, args, reading)
            files = [target for target in args.targets if not workflow.is_rule(target)]
            targets = files if len(files) == len(args.targets) else []
            overlays = bool(args.configfile or args.config)
            root = project_root(workflow.main_snakefile)
            plan = plan_of(workflow.dag, root, targets, workflow.config, overlays)
            if not reading:
                check_lock()
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
    args = _options_of_run(arguments)
    root = project_root(args.snakefile) if args.snakefile else Path.cwd()
    with contextlib.chdir(args.directory or "."):
        yield root, Path.cwd(), list(args.targets)


def _options_of_run(arguments: Sequence[str]) -> Any:
    """Return the options of a command line; for targets in runs/<name>/, those of that run.

    They are the profile that names the directory, or the directory alone.
    """
    args = parse_options(arguments)
    runs = {Path(*Path(target).parts[:2]) for target in args.targets}
    if args.directory or len(runs) != 1 or not (run := runs.pop()).is_dir():
        return args
    if run.parent != Path("runs"):
        return args
    profiles = [
        file.parent
        for file in sorted(Path("profiles").glob("*/config.yaml"))
        if yaml.safe_load(file.read_text()).get("directory") == run.as_posix()
    ]
    option = ["--profile", str(profiles[0])] if profiles else ["--directory", str(run)]
    args = parse_options([*arguments, *option])
    args.targets = [Path(target).relative_to(run).as_posix() for target in args.targets]
    return args


def _build(api: Any, args: Any, reading: bool) -> Any:
    """Return Snakemake's workflow of a command line, with its DAG.

    Snakemake's API runs, prints and summarises a DAG but does not hand it out. The private names
    below are one reason for the pin snakemake>=9.27,<10; they stand nowhere else.
    """
    from snakemake.cli import parse_config
    from snakemake.settings import types

    try:
        config = parse_config(args.config)
    except ValueError as error:
        raise MeddiffError(f"--config {' '.join(args.config)}: {error}") from None
    # Snakemake's cache of sources would need a home directory, its metadata the run directory. A
    # process that is not the main one has them elsewhere, and synchronises no metadata.
    usage = types.SharedFSUsage
    own = {usage.SOURCE_CACHE, *([usage.PERSISTENCE] if reading else [])}
    mode = types.ExecMode.REMOTE if reading else types.ExecMode.DEFAULT
    graph = api.workflow(
        resource_settings=types.ResourceSettings(cores=1),
        config_settings=types.ConfigSettings(
            config=config, configfiles=args.configfile, config_args=args.config
        ),
        storage_settings=types.StorageSettings(shared_fs_usage=usage.all() - own),
        workflow_settings=types.WorkflowSettings(exec_mode=mode),
        snakefile=args.snakefile,
        workdir=args.directory,
    ).dag(
        dag_settings=types.DAGSettings(
            targets=args.targets,
            force_incomplete=True,
            rerun_triggers=args.rerun_triggers,
            max_checksum_file_size=args.max_checksum_file_size,
        )
    )
    workflow = graph.workflow_api._workflow
    workflow._prepare_dag(forceall=False, ignore_incomplete=True, lock_warn_only=True)
    workflow._build_dag()
    return workflow


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Turn what Snakemake reports to users into a MeddiffError.

    Anything else is a bug, of a rule or of what stands here on Snakemake's private names: it keeps
    its traceback.
    """
    from snakemake.exceptions import CliException, RuleException
    from snakemake_interface_common.exceptions import ApiError, WorkflowError

    try:
        yield
    except MeddiffError:
        raise
    except (ApiError, CliException, RuleException, WorkflowError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise MeddiffError("\n".join(lines) or type(error).__name__) from error
    except Exception as error:
        error.add_note(f"while Snakemake {version('snakemake')} planned; meddiff needs 9.27 to 9.x")
        raise permission_error(error) or error from None
