"""Run the smoke workflow while things go wrong, and compare all that it made with a quiet run.

    python benchmarks/chaos.py --rounds 100 --minutes 60 --log rounds.csv

A round begins with a copy of the quiet run that lacks the files of a random chain of jobs, of which
each follows from the one before. While Snakemake makes them again, one fault strikes at a random
moment within a random job. Then follow the commands that a user reads in the messages, until
Snakemake has nothing to do for any target. A round is wrong unless each message was a plain one
that names the file and a remedy, and in the end every file has the quiet run's bytes and none is
left over. It was missed where the fault came too late: no job ran any more, or the disk sufficed.

Everything happens in a temporary folder. Linux only; to fill a disk takes root, who mounts a small
one. The programs are forks of a warm process (tests/warm.py), so that a round takes seconds.
"""

import argparse
import csv
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import chaos_faults
from chaos_run import SMOKE, Run, Violation

# isort: split
# What chaos_faults.py has made importable.
from collaboration import OUTPUTS, new_project
from published import ARCHIVE, publish

import warm
from fault_server import FaultServer

LOCAL = {
    "a job is killed": chaos_faults.kill(chaos_faults.one_job),
    "Snakemake is killed, its jobs live on": chaos_faults.kill(chaos_faults.only_snakemake),
    "Snakemake and its jobs are killed": chaos_faults.kill(chaos_faults.all_of_it),
    "a file is cut or changed before the run": chaos_faults.damage(while_running=False),
    "a file is cut or changed during the run": chaos_faults.damage(while_running=True),
    "the disk is full": chaos_faults.fill_disk,
}
DOWNLOADS = "connections of downloads drop"
REMOTE = "a byte of DVC's remote is wrong"
HEADS = {
    "missed": "missed",
    "alone": "went on by itself",
    "message": "after what the message said",
    "wrong": "wrong",
}
"""How a round ends, and the column of the table."""
COMMIT = rb"[0-9a-f]{40}(-dirty)?"
VARIES = re.compile(
    rb"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00|(<code>%b</code>(, )?)+|\"%b\""
    rb"|<td>[0-9a-f]{10}</td>" % (COMMIT, COMMIT)
)
"""When, and from which commit, a file was made."""


class Outcome(NamedTuple):
    """A row of the log of rounds."""

    number: int
    kind: str
    end: str
    seconds: float
    remark: str


@dataclass(frozen=True)
class Kind:
    """A kind of fault, done to copies of a run, or to new runs that are compared with it."""

    name: str
    fault: chaos_faults.Fault
    quiet: Path
    targets: tuple[str, ...]
    options: tuple[str, ...] = ("--configfile", str(SMOKE))
    is_copied: bool = True
    is_mounted: bool = False

    def play(self, folder: Path, programs: Path, rng: random.Random) -> str:
        """Play a round in a new folder; return how it ended, a key of `HEADS`."""
        run = Run(folder, programs, rng, self.targets, self.options)
        with ExitStack() as stack:
            if self.is_mounted:
                stack.enter_context(small_disk(folder))
            stack.callback(run.end)
            if self.is_copied:
                shutil.copytree(self.quiet, folder, dirs_exist_ok=True)
            self.fault(run)
            compare(folder, self.quiet)
        return "missed" if not run.injected else "message" if run.messages else "alone"


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mount a disk of its own at a new folder."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def compare(folder: Path, quiet: Path) -> None:
    """Refuse files that differ from the quiet run's or are left over, and results that are missing.

    Intermediate files may be missing: Snakemake makes none again whose results are there and right.
    When and from which commit files were made stands in JSON beside tables and in the page; it may
    differ.
    """
    here, there = _files(folder), _files(quiet)
    missing = {name for name in there.keys() - here.keys() if name.startswith("results/")}
    if odd := sorted(here.keys() - there.keys() | missing):
        raise Violation(f"left over or missing: {odd[:9]}")
    if odd := sorted(name for name in here if _content(here[name]) != _content(there[name])):
        raise Violation(f"not the quiet run's bytes: {odd[:9]}")


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    return VARIES.sub(b"", content) if path.suffix in (".json", ".html") else content


def _files(folder: Path) -> dict[str, Path]:
    return {
        path.relative_to(folder).as_posix(): path
        for name in OUTPUTS
        for path in (folder / name).rglob("*")
        if path.is_file() and path.name != "README.md"
    }


def prepare(
    folder: Path, programs: Path, quiet: Path, targets: tuple[str, ...], pattern: str = ""
) -> list[Kind]:
    """Finish the quiet runs and what rounds start from; return the kinds that fit the pattern."""
    make(Run(quiet, programs, random.Random(0), targets))
    kinds = [
        Kind(name, fault, quiet, targets, is_mounted=fault is chaos_faults.fill_disk)
        for name, fault in LOCAL.items()
        if os.geteuid() == 0 or fault is not chaos_faults.fill_disk
    ]
    kinds = [kind for kind in kinds if re.search(pattern, kind.name)]
    if re.search(pattern, DOWNLOADS):
        kinds.append(_downloads(folder, programs))
    if re.search(pattern, REMOTE):
        kinds.append(_remote(folder, programs, quiet, targets))
    return kinds


def make(run: Run) -> None:
    """Make the targets, or end this program."""
    succeeded, text = run.finish(run.start(*run.targets))
    if not succeeded:
        raise SystemExit(text)


def _remote(folder: Path, programs: Path, quiet: Path, targets: tuple[str, ...]) -> Kind:
    for name in OUTPUTS:  # some targets have files in some of them alone
        (quiet / name).mkdir(exist_ok=True)
    project, store = new_project(folder / "project", quiet, programs), folder / "store"
    project.run("dvc", "remote", "add", "--quiet", "--default", "store", store)
    project.meddiff("share", *targets)
    project.commit("Share")
    return Kind(REMOTE, chaos_faults.flip_remote(project, store), quiet, targets, is_copied=False)


def _downloads(folder: Path, programs: Path) -> Kind:
    server = FaultServer(publish(folder / "served")).__enter__()  # until this process ends
    overlay = folder / "downloads.yaml"
    mirrors = f"{{{ARCHIVE!r}: {server.url}/challenges}}"
    overlay.write_text(f"data: {{source: isic, mirrors: {mirrors}}}\n")
    options = ("--configfile", str(SMOKE), str(overlay))
    first = Run(folder / "fetched", programs, random.Random(0), ("data/images/split.csv",), options)
    make(first)
    fault = chaos_faults.drop_connections(server)
    return Kind(DOWNLOADS, fault, first.folder, first.targets, options, is_copied=False)


def play(
    number: int, kinds: list[Kind], folder: Path, programs: Path, seed: int, keep: Path | None
) -> Outcome:
    """Play one round; what went wrong is printed."""
    kind, run = kinds[number % len(kinds)], folder / f"round-{number}"
    clock, remark = time.monotonic(), ""
    try:
        end = kind.play(run, programs, random.Random(f"{seed} {number}"))
    except (Violation, AssertionError, subprocess.SubprocessError) as error:
        end, remark = "wrong", str(error)
        print(f"round {number}: {error}", flush=True)
        if keep and run.exists():
            shutil.copytree(run, keep / run.name, dirs_exist_ok=True)
    shutil.rmtree(run, ignore_errors=True)
    return Outcome(number, kind.name, end, round(time.monotonic() - clock, 1), remark)


def table(outcomes: Iterable[Outcome]) -> str:
    """Return how rounds of each kind ended, as Markdown."""
    ends: dict[str, Counter[str]] = {}
    for outcome in outcomes:
        ends.setdefault(outcome.kind, Counter())[outcome.end] += 1
    heads = ["what went wrong", "rounds", *HEADS.values()]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, counts in ends.items():
        numbers = [counts.total(), *(counts[end] for end in HEADS)]
        lines.append(f"| {name} | {' | '.join(map(str, numbers))} |")
    return "\n".join(lines)


def read_log(file: Path | None) -> list[Outcome]:
    """Return the rounds of earlier slices."""
    if not file or not file.exists():
        return []
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return [
        Outcome(int(row["number"]), row["kind"], row["end"], float(row["seconds"]), row["remark"])
        for row in rows
    ]


def write_log(file: Path, outcomes: Iterable[Outcome]) -> None:
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(Outcome._fields)
        writer.writerows(outcomes)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="number of the first round")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60, help="begin no round after so many")
    parser.add_argument("--log", type=Path, help="a CSV of rounds; those in it are not repeated")
    parser.add_argument(
        "--quiet-run", type=Path, help="the quiet run, which is made where it is not finished"
    )
    parser.add_argument("--targets", nargs="+", default=["all"], help="what is made")
    parser.add_argument("--kinds", default="", help="a pattern of the kinds to play")
    parser.add_argument("--keep", type=Path, help="where the run of a wrong round is copied to")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    os.environ |= {"OMP_NUM_THREADS": "1", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b.org"}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and clean up
    outcomes, end = read_log(args.log), time.monotonic() + 60 * args.minutes
    with tempfile.TemporaryDirectory(prefix="chaos-") as name, warm.programs() as programs:
        folder = Path(name).resolve()
        quiet = (args.quiet_run or folder / "quiet").resolve()
        kinds = prepare(folder, programs, quiet, tuple(args.targets), args.kinds)
        for number in range(args.first, args.first + args.rounds):
            if any(outcome.number == number for outcome in outcomes):
                continue
            if time.monotonic() > end:
                break
            outcome = play(number, kinds, folder, programs, args.seed, args.keep)
            outcomes.append(outcome)
            print(f"{number} {outcome.kind}: {outcome.end}, {outcome.seconds} s", flush=True)
            if args.log:
                write_log(args.log, outcomes)
    print(table(outcomes))
    return int(any(outcome.end == "wrong" for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
