"""Bring back what was shared: what a target needs, no more, and only the recorded bytes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from tqdm import tqdm

from meddiff.core.console import Say
from meddiff.core.errors import MeddiffError
from meddiff.workflow.provenance.digests import sha256_here
from meddiff.workflow.provenance.record import Records
from meddiff.workflow.provenance.store import LOCAL, SHARED, read_records
from meddiff.workflow.sharing import remote
from meddiff.workflow.sharing.plan import Plan

REPLACED = Path(".snakemake/meddiff/replaced")


def restore(plan: Plan, *, everything: bool, origin: str | None, say: Say) -> int:
    """Fetch the shared files that Snakemake needs here to build the targets; return how many.

    Files that are here, that a shared step would make, and that hold other bytes than the shared
    ones are set aside: they would not go together with what is fetched.

    Raises:
        MeddiffError: nothing is shared here, or a file cannot be had or is not the recorded one;
            then files that were set aside are back in their places.
    """
    shared = read_records(SHARED)
    if not shared:
        raise MeddiffError(
            f"nothing is shared in {plan.run}: pull the latest commits, or name the run with "
            "--directory runs/<name>"
        )
    producers = [plan.producers[path] for path in plan.targets if path in plan.producers]
    targets = [path for step in producers for path in step.outputs]
    steps = [step for step in plan.upstream(targets) if plan.is_shared(step, shared)]
    upstream = [path for step in steps for path in step.outputs]
    wanted = upstream if everything else plan.required_files(targets, shared)
    return fetch(wanted, upstream, shared, plan.root, plan.run, origin, say)


def replace(paths: Sequence[str], root: Path, run: Path, origin: str | None, say: Say) -> None:
    """Fetch shared files in place of what is here under their names, which is set aside."""
    shared = read_records(SHARED)
    for path in paths:
        if path not in shared:
            raise MeddiffError(f"{path} is not shared: there is nothing to replace it with")
    fetch(paths, paths, shared, root, run, origin, say)


def fetch(
    wanted: Sequence[str],
    concerned: Sequence[str],
    shared: Records,
    root: Path,
    run: Path,
    origin: str | None,
    say: Say,
) -> int:
    """Fetch those of the wanted files that are not here, once what contradicts is out of the way.

    Args:
        wanted: shared files to have here.
        concerned: files among which others than the shared ones are set aside.
    """
    here = {path: sha256_here(path) for path in dict.fromkeys([*wanted, *concerned])}
    others = [path for path, sha256 in here.items() if sha256 not in (None, shared[path].sha256)]
    missing = [shared[path] for path in wanted if here[path] != shared[path].sha256]
    if missing:
        remote.check_remote(run, origin, needs=remote.STORED)
    with aside(others, say):
        arriving = remote.fetch(missing, root, run, origin) if missing else ()
        for number, record in enumerate(arriving, 1):
            size = tqdm.format_sizeof(record.size, "B")
            say(f"[{number}/{len(missing)}] {record.path} ({size})")
    for path, sha256 in here.items():
        if sha256 is None:
            # The record of a file that was made here and deleted.
            (LOCAL / f"{path}.json").unlink(missing_ok=True)
    return len(missing)


@contextmanager
def aside(paths: Sequence[str], say: Say) -> Iterator[None]:
    """Set files and their records aside, and put them back if the block fails."""
    folder = REPLACED / f"{datetime.now():%Y%m%d-%H%M%S}"
    moved: list[tuple[Path, Path]] = []
    try:
        for path in paths:
            for file in (Path(path), LOCAL / f"{path}.json"):
                if file.is_file():
                    place = folder / file
                    place.parent.mkdir(parents=True, exist_ok=True)
                    file.rename(place)
                    moved.append((file, place))
        yield
    except BaseException:
        for file, place in reversed(moved):
            place.replace(file)
        raise
    for file, place in moved:
        if not file.is_relative_to(LOCAL):
            say(f"{file} was set aside as {place}")
