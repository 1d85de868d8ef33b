"""Stop a run that would rebuild by accident what a collaborator has shared."""

from collections.abc import Collection
from pathlib import Path

from meddiff.core.errors import MeddiffError, first_names
from meddiff.workflow.provenance.digests import sha256_here
from meddiff.workflow.provenance.record import Records
from meddiff.workflow.provenance.store import read_effective
from meddiff.workflow.sharing.plan import Plan


def check_rebuild(plan: Plan, shared: Records, targets: Collection[str]) -> None:
    """Raise if jobs would overwrite a file of another origin, or make again what is shared."""
    records = read_effective()
    outputs = [path for step in plan.planned for path in step.outputs]
    if unrecorded := [path for path in outputs if Path(path).is_file() and path not in records]:
        raise MeddiffError(
            "not made by this workflow here, and about to be overwritten: "
            f"{first_names(unrecorded)}; move them away"
        )
    again = [path for step in plan.planned if plan.is_shared(step, shared) for path in step.outputs]
    if again:
        required = plan.required_files(plan.targets, shared)
        missing = [path for path in required if sha256_here(path) != shared[path].sha256]
        raise MeddiffError(
            f"this run would compute again what is shared: {first_names(missing or again)}\n"
            f"get it with `{' '.join(['meddiff restore', *sorted(targets)])}` and the options of "
            "this command, or compute it again with `--config rebuild=true`"
        )
