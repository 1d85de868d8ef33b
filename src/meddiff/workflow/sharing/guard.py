"""Stop a run that would rebuild by accident what a collaborator has shared."""

from collections.abc import Collection
from pathlib import Path

from meddiff.core.errors import MeddiffError, first_names
from meddiff.workflow.provenance.digests import sha256_here
from meddiff.workflow.provenance.record import Records, read_effective
from meddiff.workflow.sharing.plan import Plan


def check_rebuild(plan: Plan, shared: Records, asked: Collection[str]) -> None:
    """Check the jobs that are about to run.

    Args:
        plan: of the working directory.
        shared: the shared records.
        asked: the targets as they were typed.

    Raises:
        MeddiffError: a file in the way was not made by this workflow, or jobs would make again what
            is shared.
    """
    known = read_effective()
    outputs = [path for step in plan.planned for path in step.outputs]
    if strangers := [path for path in outputs if Path(path).is_file() and path not in known]:
        raise MeddiffError(
            f"not made by this workflow here, and about to be overwritten: {first_names(strangers)}"
            "; move them away"
        )
    again = [path for step in plan.planned if plan.covered(step, shared) for path in step.outputs]
    if again:
        needed = plan.needed(plan.targets, shared)
        lacking = [path for path in needed if sha256_here(path) != shared[path].sha256]
        raise MeddiffError(
            f"this run would compute again what is shared: {first_names(lacking or again)}\n"
            f"get it with `{' '.join(['meddiff restore', *sorted(asked)])}` and the options of "
            "this command, or compute it again with `--config rebuild=true`"
        )
