"""Share a finished run: its records through git, its bytes through DVC."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from meddiff.core.console import Say
from meddiff.core.errors import MeddiffError, first_names
from meddiff.workflow.provenance.digests import digest
from meddiff.workflow.provenance.record import Record, Records
from meddiff.workflow.provenance.recording import describe_file
from meddiff.workflow.provenance.store import LOCAL, SHARED, read_records, write_record
from meddiff.workflow.sharing import remote
from meddiff.workflow.sharing.plan import Plan

RAW = "data/raw/"


def share(plan: Plan, *, raw: bool, prune: bool, to: str | None, say: Say) -> None:
    """Record and push the files behind the plan's targets.

    Args:
        raw: share the bytes of raw archives too, not just their records.
        prune: drop the records of files that are not behind the targets.

    Raises:
        MeddiffError: work is still planned, a file is not what its record says, or DVC fails. Then
            nothing of what was shared before is lost.
    """
    _check_place(plan)
    if plan.planned:
        rules = sorted({step.rule for step in plan.planned})
        raise MeddiffError(
            f"{len(plan.planned)} jobs are still planned ({first_names(rules)}): run snakemake "
            "with the same targets and options first, then share"
        )
    before = read_records(SHARED)
    remote.check_remote(plan.run, to, needs="." if before and to is None else "..")
    checked = _collect(plan, before)
    records = checked if prune else {**before, **checked}
    carried = {path: r for path, r in records.items() if raw or not path.startswith(RAW)}
    staged = remote.stages(plan.root, plan.run)
    with _undone_if_failed(plan.run / remote.ARTEFACTS, plan.root / "dvc.lock"):
        remote.commit(carried, checked, staged, plan.run)
        remote.push(staged, plan.run, to)
    for path, record in records.items():
        if before.get(path) != record:
            write_record(record, SHARED)
    for path in set(before) - set(records):
        (SHARED / f"{path}.json").unlink()
    size = tqdm.format_sizeof(sum(record.size for record in carried.values()), "B")
    new = sum(before.get(path) != record for path, record in records.items())
    say(f"shared {len(carried)} files, {size}; {new} records are new or changed")
    here = plan.run.relative_to(plan.root)
    lock = ["dvc.lock"] if staged else []
    files = " ".join([str(here / SHARED), str(here / remote.ARTEFACTS), *lock])
    say(f"now: git add {files} && git commit -m 'Share results' && git push")


def _check_place(plan: Plan) -> None:
    if not plan.run.is_relative_to(plan.root):
        raise MeddiffError(
            f"{plan.run} lies outside the project: share runs from {plan.root}/runs/"
        )
    if plan.run == plan.root and plan.overlays:
        raise MeddiffError(
            "the project's root shares what config/config.yaml makes, since dvc.lock speaks of it: "
            "give another configuration a run of its own with --directory runs/<name>"
        )


def _collect(plan: Plan, before: Records) -> dict[str, Record]:
    """Return the record of each file behind the targets, each checked against its bytes."""
    local = read_records(LOCAL)
    steps = plan.upstream(plan.targets)
    records = {p: _record_of(p, local, before) for step in steps for p in step.outputs}
    for step in steps:
        by_hand = all(records[path].rule is None for path in step.outputs)
        reasons = [] if by_hand else list(plan.differences(step, records))
        if reasons:
            raise MeddiffError(
                f"{step.outputs[0]} is not what this configuration makes ({reasons[0]}): move "
                "it away and run snakemake again"
            )
    return records


def _record_of(path: str, local: Records, before: Records) -> Record:
    """Return the record of a file as it is to be shared, with Snakemake's own."""
    if Path(path).is_dir():
        raise MeddiffError(f"{path} is a folder: pack it into an archive of that name to share it")
    if not Path(path).is_file():
        if path in before:
            return before[path]
        raise MeddiffError(f"{path} is not here and was not shared before: run snakemake {path}")
    sha256 = digest(path, full=True).sha256
    if path in local and local[path].sha256 == sha256:
        if local[path].rule and not local[path].snakemake:
            raise MeddiffError(f"Snakemake's metadata of {path} are lost: run snakemake again")
        return local[path]
    if path in before and before[path].sha256 == sha256:
        return before[path]
    if path.startswith(RAW) and path not in local and path not in before:
        return describe_file(path)
    raise MeddiffError(
        f"{path} has other bytes than were recorded: move it away and run snakemake again"
    )


@contextmanager
def _undone_if_failed(*files: Path) -> Iterator[None]:
    """Put files back as they were if the block fails."""
    before = {file: file.read_bytes() if file.is_file() else None for file in files}
    try:
        yield
    except BaseException:
        for file, content in before.items():
            if content is None:
                file.unlink(missing_ok=True)
            else:
                file.write_bytes(content)
        raise
