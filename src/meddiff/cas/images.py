"""The experiment's images, from image sets and their tables of rows."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from meddiff.cas.arms import Pool, build_pool
from meddiff.cas.experiment import HeldOut
from meddiff.core.arrays import balanced, load_images, stack
from meddiff.core.tables import read_csv

Paths = Iterable[str | Path]


def load_pool(
    real: Paths,
    rows: Paths,
    *synthetic: Paths,
    max_synthetic: int | None = None,
    augmented: bool = False,
    seed: int = 0,
) -> Pool:
    """Read what arms train on: one image set per class, real ones each with a table of rows.

    Synthetic images may come in parts, one image set per class each; the first `max_synthetic` of
    each class are taken, None takes all.
    """
    return build_pool(
        [load_images(path) for path in real],
        [_names(path)["group"].to_numpy() for path in rows],
        [
            np.concatenate([load_images(path) for path in paths])[:max_synthetic]
            for paths in zip(*synthetic, strict=True)
        ],
        augmented=augmented,
        seed=seed,
    )


def load_held_out(images: Paths, rows: Paths) -> HeldOut:
    """Read what arms are tested on, or what is chosen on, as many images of each class."""
    sets = balanced([load_images(path) for path in images])
    stacked, labels = stack(sets)
    tables = [_names(path).head(len(images)) for path, images in zip(rows, sets, strict=True)]
    table = pd.concat(tables, ignore_index=True)
    return HeldOut(stacked, labels, table["id"].tolist(), table["group"].tolist())


def _names(path: str | Path) -> pd.DataFrame:
    return read_csv(path, ["id", "group"])
