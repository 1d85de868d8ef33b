"""Bring back what was shared: what a target needs, no more, and only the recorded bytes."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from tqdm import tqdm

from meddiff.errors import MeddiffError
from meddiff.provenance.digests import sha256_here
from meddiff.provenance.record import LOCAL, SHARED, Record, read_records
from meddiff.sharing import remote
from meddiff.sharing.plan import Plan

REPLACED = Path(".snakemake/meddiff/replaced")

Say = Callable[[str], None]


def restore(plan: Plan, *, siblings: bool, origin: str | None, say: Say) -> int:
    """Fetch the shared files that Snakemake needs here to build the plan's targets.

    Args:
        plan: of the working directory.
        siblings: fetch what was made together with each target too, as a table's record.
        origin: name of a DVC remote, or None for the default one.
        say: told what was done.

    Returns:
        how many files were fetched.

    Raises:
        MeddiffError: nothing is shared here, or a file cannot be had or is not the recorded one.
    """
    shared = read_records(SHARED)
    if not shared:
        raise MeddiffError(
            f"nothing is shared in {plan.run}: pull the latest commits, or name the run with "
            "--directory runs/<name>"
        )
    targets = list(plan.targets)
    if siblings:
        made = (plan.producers[path] for path in targets if path in plan.producers)
        targets += [path for step in made for path in step.outputs]
    wanted = [shared[path] for path in plan.needed(targets, shared)]
    for step in plan.behind(targets):
        if plan.covered(step, shared):
            _forget_own(step.outputs, {record.path for record in wanted})
    return fetch(wanted, plan.root, plan.run, origin, say)


def fetch(wanted: Sequence[Record], root: Path, run: Path, origin: str | None, say: Say) -> int:
    """Fetch those of some shared files that are not here."""
    missing = [record for record in wanted if not Path(record.path).is_file()]
    for number, record in enumerate(remote.fetch(missing, root, run, origin) if missing else (), 1):
        say(f"[{number}/{len(missing)}] {record.path} ({tqdm.format_sizeof(record.size, 'B')})")
    return len(missing)


def replace(paths: Sequence[str], say: Say) -> None:
    """Set aside files that hold other bytes than the shared ones, so that those can come back."""
    shared = read_records(SHARED)
    for path in paths:
        if path not in shared:
            raise MeddiffError(f"{path} is not shared: there is nothing to replace it with")
        if sha256_here(path, full=True) not in (None, shared[path].sha256):
            aside = REPLACED / f"{datetime.now():%Y%m%d-%H%M%S}" / path
            aside.parent.mkdir(parents=True, exist_ok=True)
            Path(path).rename(aside)
            say(f"{path} was set aside as {aside}")
        (LOCAL / f"{path}.json").unlink(missing_ok=True)


def _forget_own(outputs: Sequence[str], wanted: set[str]) -> None:
    """Let the shared record speak for files that are not here or are the shared ones."""
    for path in outputs:
        if path in wanted or not Path(path).is_file():
            (LOCAL / f"{path}.json").unlink(missing_ok=True)
