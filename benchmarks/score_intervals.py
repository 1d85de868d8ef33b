"""Do intervals of scores hold, and does the order or the seed matter? Simulated features.

    OMP_NUM_THREADS=1 python benchmarks/score_intervals.py           # the table of metrics.md
    OMP_NUM_THREADS=1 python benchmarks/score_intervals.py --draws 8 --n-resamples 20    # a trial

Sets are drawn anew many times, of Gaussian features of falling variance, with and without held-out
real images, of one distribution and of another. Of every number: how often its interval holds its
mean over all draws, and its mean standard error by the standard deviation of the draws. Of one draw
of each case: the range over random orders of the images, and the standard deviation over seeds, by
the interval's half width.
"""

import argparse
import itertools
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd

from meddiff.core.randomness import stream
from meddiff.evaluation.distances import distance_rows

COVER = ("precision", "recall", "density", "coverage")
NUMBERS = {
    "matched FID": ("synthetic", "fid", "matched"),
    "floor FID": ("real", "fid", ""),
    "ceiling FID": ("noise", "fid", ""),
    "FID score": ("synthetic", "fid", "score"),
    "matched KID": ("synthetic", "kid", "matched"),
    "KID score": ("synthetic", "kid", "score"),
    **{name: ("synthetic", name, "") for name in COVER},
    **{f"floor {name}": ("real", name, "") for name in COVER},
}


@dataclass(frozen=True)
class Case:
    """Numbers of images and dimensions; how synthetic images differ; real ones held out, if any."""

    real: int
    synthetic: int
    dimensions: int
    shift: float
    scale: float
    held_out: int | None


CASES = [
    Case(99, 200, 16, 0.2, 1.0, None),
    Case(99, 200, 16, 0.0, 1.0, None),
    Case(60, 60, 64, 0.3, 0.8, None),
    Case(200, 100, 64, 0.3, 0.7, 60),
    Case(60, 60, 200, 0.2, 1.0, 40),
    Case(100, 100, 4, 0.5, 1.0, 100),
]


def measured(
    case: Case, draw: int, n_resamples: int, *, order: int = 0, seed: int = 0
) -> pd.DataFrame:
    """Return value, low and high of every number of one draw."""
    shapes = {
        "real": (case.real, 0.0, 1.0),
        "synthetic": (case.synthetic, case.shift, case.scale),
        "noise": (case.synthetic, 1.5, 1.0),
    }
    if case.held_out:
        shapes["held out"] = (case.held_out, 0.0, 1.0)
    sets = {}
    for name, (n, shift, scale) in shapes.items():
        drawn = stream(draw, name).normal(shift, scale, (n, case.dimensions))
        drawn /= np.sqrt(np.arange(1, case.dimensions + 1))
        sets[name] = {"all": stream(order, "order", name).permutation(drawn)}
    reference = sets.pop("real")
    if case.held_out:
        sets["real"] = sets.pop("held out")
    rows = distance_rows("x", reference, sets, n_resamples=n_resamples, seed=seed)
    rows = rows.set_index(["image_set", "metric"])
    numbers = {}
    for name, (images, metric, start) in NUMBERS.items():
        ends = (start or "value", *(f"{start}_{end}".strip("_") for end in ("ci_low", "ci_high")))
        numbers[name] = rows.loc[(images, metric)].reindex(ends).to_numpy(float)
    return pd.DataFrame(numbers, index=["value", "low", "high"]).T


def simulated(case: Case, draws: int, n_resamples: int, again: int) -> pd.DataFrame:
    """Return coverage, width and scatter of every number in one case."""
    drawn = [measured(case, draw, n_resamples) for draw in range(draws)]
    value, low, high = (np.array([rows[end] for rows in drawn]) for end in ("value", "low", "high"))
    mean, finite = np.nanmean(value, axis=0), np.isfinite(low)
    covered = np.where(finite, (low <= mean) & (mean <= high), np.nan)
    half = (drawn[0]["high"] - drawn[0]["low"]) / 2
    orders = np.array([measured(case, 0, n_resamples, order=k)["value"] for k in range(again)])
    seeds = np.array([measured(case, 0, n_resamples, seed=k)["value"] for k in range(again)])
    return pd.DataFrame(
        {
            "coverage": np.nanmean(covered, axis=0),
            "width": np.nanmean((high - low) / 3.92, axis=0) / np.nanstd(value, axis=0, ddof=1),
            "orders": np.ptp(orders, axis=0) / half,
            "seeds": seeds.std(axis=0, ddof=1) / half,
        },
        index=list(NUMBERS),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--n-resamples", type=int, default=200)
    parser.add_argument("--again", type=int, default=15, help="orders, and seeds")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(arguments)
    sizes = (options.draws, options.n_resamples, options.again)
    with ProcessPoolExecutor(options.processes) as pool:
        tables = list(pool.map(simulated, CASES, *map(itertools.repeat, sizes)))
    print(
        "| number | coverage: lowest, median, highest | width | orders | seeds |\n"
        "|---|---|---|---|---|"
    )
    for name in NUMBERS:
        rows = pd.DataFrame([table.loc[name] for table in tables])
        coverage = ", ".join(f"{rows['coverage'].quantile(q):.2f}" for q in (0, 0.5, 1))
        width = f"{rows['width'].min():.2f}-{rows['width'].max():.2f}"
        print(f"| {name} | {coverage} | {width} | {rows['orders'].max():.0e} | "
              f"{rows['seeds'].max():.2f} |")  # fmt: skip


if __name__ == "__main__":
    main()
