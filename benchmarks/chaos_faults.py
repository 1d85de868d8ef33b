"""What goes wrong in a round of chaos.py, and what a user then does."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chaos_run import ROOT, Process, Run, Violation

sys.path.extend([str(ROOT / "tests"), str(ROOT / "tests/integration")])

from collaboration import Clone
from published import address

from fault_server import Break, FaultServer, HangUp, Status
from meddiff.data.registry import registered_files
from meddiff.workflow.provenance.store import LOCAL, read_records

MOST_JOBS = 4
"""Jobs in a chain at most, so that a round takes seconds."""
MOST_COMMANDS = 8
"""Commands after which a user gives up."""
LOCKED = "Directory cannot be locked"
RULE_ERROR = r"Error in rule \w+:\n.*\n( .*\n)* +output: "
FULL = r"(?i)no space left on"

Fault = Callable[[Run], None]
Remedy = Callable[[str], None]
"""Does what an error message says; raises `Violation` if the message is unclear."""


@dataclass(frozen=True)
class Job:
    """A job of the quiet run, by its records."""

    outputs: frozenset[str]
    inputs: frozenset[str]


def jobs_of(run: Run) -> list[Job]:
    """Return the jobs that made the files of a run."""
    outputs: dict[tuple[str, ...], set[str]] = {}
    for path, record in sorted(read_records(run.folder / LOCAL).items()):
        key = (str(record.rule), record.finished, *record.inputs)
        outputs.setdefault(key, set()).add(path)
    return [Job(frozenset(files), frozenset(key[2:])) for key, files in outputs.items()]


def delete_chain(run: Run) -> set[str]:
    """Delete what a random job made, a random job after it, and so on; return all that follows.

    The run's goal is to make the deleted files again. What else was made from them stays, and must
    be recognised as up to date. The records stay, too.
    """
    jobs = jobs_of(run)
    chain = [run.rng.choice(jobs)]
    while len(chain) < MOST_JOBS:
        following = [job for job in jobs if job.inputs & chain[-1].outputs]
        if not following:
            break
        chain.append(run.rng.choice(following))
    run.goal = sorted(path for job in chain for path in job.outputs)
    run.jobs = len(chain)
    for path in run.goal:
        (run.folder / path).unlink(missing_ok=True)
    after, size = set(chain[0].outputs), 0
    while len(after) > size:
        size = len(after)
        after.update(path for job in jobs if job.inputs & after for path in job.outputs)
    return after


def recover(run: Run, process: subprocess.Popen[bytes], remedy: Remedy) -> None:
    """Do what the messages say until everything is up to date and no process works."""
    text, is_whole = "", not run.goal
    for _ in range(MOST_COMMANDS):
        succeeded, text = run.finish(process)
        if succeeded and is_whole and "Nothing to be done" in text and not run.processes():
            return
        if succeeded:
            run.wait_for_orphans()
            is_whole = True
        elif LOCKED in text:
            run.messages.append(LOCKED)
            run.finish(run.start("--unlock"))
        else:
            remedy(text)
            run.messages.append(text)
            is_whole = not run.goal
        process = run.start(*(run.targets if is_whole else run.goal))
    raise Violation(f"no end:\n{text[-3000:]}")


def names_the_job(text: str) -> None:
    """Accept Snakemake's error of a job: rule, files and log."""
    if not re.search(RULE_ERROR, text):
        raise Violation(f"unclear:\n{text[-3000:]}")


def kill(choose: Callable[[Run], list[Process]]) -> Fault:
    """Return a fault: SIGKILL to some of the processes while a job runs."""

    def fault(run: Run) -> None:
        delete_chain(run)
        process = run.start(*run.goal)
        if run.wait_for_job(process):
            for each in choose(run):
                run.injected |= each.kill()
        if run.injected and choose is not one_job:
            process.wait()  # it can say nothing any more
            process = run.start(*run.goal)
        recover(run, process, names_the_job)

    return fault


def one_job(run: Run) -> list[Process]:
    """Return the process of a random job, or one of its workers."""
    jobs = [each for each in run.processes() if each.log or each.is_worker]
    return [run.rng.choice(jobs)] if jobs else []


def only_snakemake(run: Run) -> list[Process]:
    """Return Snakemake's process: the first in the run directory."""
    return run.processes()[:1]


def all_of_it(run: Run) -> list[Process]:
    """Return Snakemake, its shells and jobs."""
    return run.processes()


def corrupt(run: Run, but: set[str]) -> Path:
    """Cut, empty or change a random file, but none of some; return it."""
    recorded = sorted(read_records(run.folder / LOCAL).keys() - but)
    path = run.rng.choice([run.folder / each for each in recorded if (run.folder / each).exists()])
    content = bytearray(path.read_bytes())
    at = run.rng.randrange(len(content) or 1)
    if content and run.rng.random() < 0.5:
        content[at] ^= 0xFF
    elif content:
        del content[at:]
    else:
        content += b"\n"
    path.write_bytes(content)
    run.injected = True
    return path


def damage(while_running: bool) -> Fault:
    """Return a fault: other bytes in a file, before Snakemake starts or while a job runs."""

    def fault(run: Run) -> None:
        after = delete_chain(run)
        corrupted = None if while_running else corrupt(run, set(run.goal))
        process = run.start(*run.goal)
        if while_running and run.wait_for_job(process):
            # What is being made has the bytes that its record will say.
            corrupted = corrupt(run, after)

        def remedy(text: str) -> None:
            name = corrupted and corrupted.relative_to(run.folder).as_posix()
            if not name or not any(name in line and "move" in line for line in text.splitlines()):
                raise Violation(f"{name} was corrupted, but:\n{text[-3000:]}")
            if corrupted and corrupted.exists():
                corrupted.rename(run.folder.with_suffix(".moved"))
                run.goal.append(name)  # no target may need it

        recover(run, process, remedy)

    return fault


def fill_disk(run: Run) -> None:
    """Fill the disk but for a part of what the run has still to write."""
    before = shutil.disk_usage(run.folder).free
    delete_chain(run)
    process = run.start(*run.goal)
    filler = run.folder / "filler"
    if run.wait_for_job(process):
        free = shutil.disk_usage(run.folder).free
        left = int(max(0, free - before) * run.rng.random())
        with filler.open("wb") as out:
            os.posix_fallocate(out.fileno(), 0, max(1, free - left))

    def remedy(text: str) -> None:
        run.injected = True
        if not re.search(FULL, text):
            raise Violation(f"the disk is full, but:\n{text[-3000:]}")
        filler.unlink(missing_ok=True)

    recover(run, process, remedy)
    filler.unlink(missing_ok=True)


def drop_connections(server: FaultServer) -> Fault:
    """Return a fault: connections of downloads end, some of them each time."""
    files = {
        address(file): file
        for edition in ("2018", "2019", "2020")
        for file in registered_files("isic", edition).values()
    }

    def dropped(run: Run, size: int) -> Break | HangUp | Status:
        times = run.rng.choice([1, 2, 3, None])
        kinds = [
            Break(after=run.rng.randrange(size), times=times),
            HangUp(times=times),
            Status(503, times=times),
        ]
        return run.rng.choice(kinds)

    def fault(run: Run) -> None:
        chosen = run.rng.sample(sorted(files), 3)
        for path in chosen:
            server.plan(path, dropped(run, (server.folder / path[1:]).stat().st_size))
        before = len(server.requests)

        def remedy(text: str) -> None:
            if not any(files[path] in text for path in chosen):
                raise Violation(f"a download failed, but:\n{text[-3000:]}")
            for path in files:
                server.plan(path)

        recover(run, run.start(*run.targets), remedy)
        run.injected = any(request.path in chosen for request in server.requests[before:])
        for path in files:
            server.plan(path)

    return fault


def flip_remote(project: Clone, remote: Path) -> Fault:
    """Return a fault: one byte of DVC's remote is wrong while a clone restores everything."""

    def fault(run: Run) -> None:
        clone = project.clone(run.folder)
        blob = run.rng.choice(sorted(path for path in remote.rglob("*") if path.is_file()))
        right = blob.read_bytes()
        wrong = bytearray(right)
        wrong[run.rng.randrange(len(right))] ^= 0xFF
        blob.chmod(0o644)
        blob.write_bytes(wrong)
        run.injected = True
        command = ("restore", *run.targets, "--everything")
        try:
            done = clone.meddiff(*command, check=False)
        finally:
            blob.write_bytes(right)
        md5 = blob.parent.name + blob.name
        records = read_records(clone.root / "provenance")
        named = any(path in done.stdout for path, each in records.items() if each.md5 == md5)
        if not done.returncode or "Traceback" in done.stdout or not named:
            raise Violation(f"{blob} has a wrong byte, but:\n{done.stdout[-3000:]}")
        run.messages.append(done.stdout)
        clone.meddiff(*command)
        if "Nothing to be done" not in clone.snakemake(*run.targets, "--dry-run").stdout:
            raise Violation("something is planned after everything was restored")

    return fault
