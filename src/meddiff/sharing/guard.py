"""Stop a run that would rebuild by accident what a collaborator has shared."""

from collections.abc import Collection, Sequence
from pathlib import Path

from meddiff.errors import MeddiffError
from meddiff.provenance.record import Records, read_effective
from meddiff.sharing.plan import Plan

SHOWN = 5


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
            f"not made by this workflow here, and about to be overwritten: {name_some(strangers)}; "
            "move them away or delete them"
        )
    if any(plan.covered(step, shared) for step in plan.planned):
        needed = [p for p in plan.needed(plan.targets, shared) if not Path(p).is_file()]
        raise MeddiffError(
            "this run would compute again what is shared and not here; it needs "
            f"{len(needed)} files: {name_some(needed)}\n"
            f"get them with `meddiff restore {' '.join(asked)}` and the options of this command, "
            "or compute them again with `--config rebuild=true`"
        )


def name_some(paths: Sequence[str]) -> str:
    """Name the first few of some files and count the rest."""
    more = len(paths) - SHOWN
    return ", ".join(paths[:SHOWN]) + (f" and {more} more" if more > 0 else "")
