"""One run directory of a round of chaos.py: Snakemake in it, and its processes."""

import csv
import os
import random
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
SMOKE = ROOT / "tests/smoke.yaml"
PAUSE = 0.01
"""Seconds between two looks at the processes: jobs of the smoke workflow take 0.1 to 5."""
LONGEST = 600
"""Seconds that a command may take."""


class Violation(Exception):
    """What must not happen."""


@dataclass(frozen=True, order=True)
class Process:
    """A process that works in a run directory.

    Attributes:
        started: clock ticks since the machine's start.
        number: its id.
        log: the open log of its job, from the run directory; empty for other processes.
        is_worker: started by a job to share its work.
    """

    started: int
    number: int
    log: str
    is_worker: bool

    def kill(self) -> bool:
        """Send SIGKILL; return whether the process was there."""
        try:
            os.kill(self.number, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True


def processes_in(folder: Path) -> list[Process]:
    """Return the processes whose working directory a folder is, the oldest first."""
    processes = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (entry / "cwd").readlink() == folder:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if fields[0] == "Z":
                    continue
                command = (entry / "cmdline").read_bytes()
                is_worker = b"multiprocessing.spawn" in command
                log = _open_log(entry, folder / "logs")
                processes.append(Process(int(fields[19]), int(entry.name), log, is_worker))
    return sorted(processes)


def _open_log(entry: Path, logs: Path) -> str:
    for each in (entry / "fd").iterdir():
        with suppress(OSError):
            file = each.readlink()
            if file.suffix == ".log" and file.is_relative_to(logs):
                return file.relative_to(logs.parent).as_posix()
    return ""


@dataclass
class Run:
    """A run directory, the commands of a user in it, and how that went.

    Attributes:
        folder: the run directory, an absolute path without links.
        programs: stand-ins of the environment's programs (tests/warm.py).
        rng: all that is random.
        targets: what is made in the end.
        goal: what is made first; the targets if empty.
        jobs: how many jobs that takes at least.
        options: options of every command.
        messages: errors that the user acted on.
        injected: whether the fault was done, while a job ran if that was meant.
    """

    folder: Path
    programs: Path
    rng: random.Random
    targets: tuple[str, ...] = ("all",)
    options: tuple[str, ...] = ("--configfile", str(SMOKE))
    goal: list[str] = field(default_factory=list)
    jobs: int = 1
    messages: list[str] = field(default_factory=list)
    injected: bool = False

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start Snakemake; what it prints goes to a file, which orphans may hold open."""
        command = [self.programs / "snakemake", *arguments, "--cores", "2"]
        with self._printed.open("wb") as out:
            return subprocess.Popen(
                [*command, "--directory", self.folder, *self.options],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    @property
    def _printed(self) -> Path:
        return self.folder.with_suffix(".out")

    def finish(self, process: subprocess.Popen[bytes]) -> tuple[bool, str]:
        """Return whether it succeeded, and what it printed."""
        process.wait(timeout=LONGEST)
        text = self._printed.read_text(errors="replace")
        if "Traceback (most recent call last)" in text:
            raise Violation(f"a traceback:\n{text[-3000:]}")
        return process.returncode == 0, text

    def processes(self) -> list[Process]:
        """Return Snakemake, its shells and jobs, the oldest first."""
        return processes_in(self.folder)

    def wait_for_job(self, process: subprocess.Popen[bytes]) -> bool:
        """Wait until a random moment of a random job; return False if Snakemake ended before.

        A job runs from when it opens its log. How long it takes is known from the run before; the
        first half of that is injected, since its start takes a part.
        """
        turn, part = self.rng.randrange(self.jobs), self.rng.random() / 2
        seconds = self._benchmarks()
        seen: set[str] = set()
        moment = float("inf")
        while process.poll() is None:
            running = {each.log for each in self.processes() if each.log}
            new, seen = running - seen, seen | running
            if new and len(seen) > turn and moment == float("inf"):
                moment = time.monotonic() + part * max(seconds.get(log, 0) for log in new)
            if running and time.monotonic() >= moment:
                return True
            time.sleep(PAUSE)
        return False

    def _benchmarks(self) -> Mapping[str, float]:
        """Return the seconds that each job took, by its log."""
        seconds = {}
        for file in (self.folder / "logs").rglob("*.benchmark.tsv"):
            with file.open() as lines:
                rows = list(csv.DictReader(lines, delimiter="\t"))
            log = file.relative_to(self.folder).as_posix().replace(".benchmark.tsv", ".log")
            seconds[log] = float(rows[-1]["s"]) if rows else 0.0
        return seconds

    def wait_for_orphans(self) -> None:
        """Wait until jobs that outlived their Snakemake have ended."""
        limit = time.monotonic() + LONGEST
        while self.processes():
            if time.monotonic() > limit:
                raise Violation(f"processes without an end: {self.processes()}")
            time.sleep(PAUSE)

    def end(self) -> None:
        """Kill what still works in the run directory."""
        while left := self.processes():
            for each in left:
                each.kill()
            time.sleep(PAUSE)
