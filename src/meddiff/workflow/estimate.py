"""How long a run will take, from how long its jobs took here before."""

import csv
from collections.abc import Iterable
from pathlib import Path

AFFECTS_RESULTS = False

TIMED = 0.5
"""Share of the jobs that must have run here before: of fewer there is no estimate."""


def estimate(benchmarks: Iterable[str | Path | None], cores: int) -> str | None:
    """Return how long jobs take together, in words; None where most have never run here.

    Args:
        benchmarks: Snakemake's file of each job, of its last run; a rule without one has None.
        cores: jobs of one core side by side.
    """
    paths = [Path(path) for path in benchmarks if path]
    times = [seconds for path in paths if (seconds := _seconds(path)) is not None]
    if not times or len(times) < TIMED * len(paths):
        return None
    total = max(sum(times) / max(1, cores), *times)
    shown = f"{total:.0f} s" if total < 90 else f"{total / 60:.0f} min"
    rest = len(paths) - len(times)
    return f"{len(paths)} jobs, about {shown} as they took here before" + (
        f" ({rest} have not run before)" if rest else ""
    )


def _seconds(path: Path) -> float | None:
    """Return a job's seconds of wall clock, the first column of its only line."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return float(next(csv.DictReader(file, delimiter="\t"))["s"])
    except (OSError, StopIteration, KeyError, ValueError, TypeError):
        return None
