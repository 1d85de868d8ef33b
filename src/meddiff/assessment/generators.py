"""Images of several generators by every score (`results/generators.csv`)."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from meddiff.cas.scoring import score_cells
from meddiff.cas.tables import cells_table, read_runs
from meddiff.core.tables import read_part
from meddiff.evaluation.rows import PIXELS
from meddiff.reporting.image_quality import SYNTHETIC, image_quality

REFERENCES = ("real", "noise")
"""What stands beside generators, last."""
COLUMNS = ["generator", "class", "metric", "extractor", "subset", "classifier", "arm", "value",
           "std", "ci_low", "ci_high", "matched", "matched_ci_low", "matched_ci_high", "score",
           "score_ci_low", "score_ci_high", "difference", "difference_ci_low",
           "difference_ci_high", "n_repeats", "n_real", "n_synthetic", "n_test", "steps",
           "dimension", "reference", "source_file", "note"]  # fmt: skip
WHOLE = ["n_repeats", "n_real", "n_synthetic", "n_test", "steps", "dimension"]
COPIES = {"identical": "copies", "suspects": "suspects", "closer": "closer"}
"""Columns of memorisation.csv, and their names as metrics."""
OF_SYNTHETIC = ("synthetic", "mixed")
"""Arms that are a generator's; others are of real images."""
Paths = Iterable[str | Path]


def by_generator(paths: Paths, own: str) -> dict[str, list[Path]]:
    """Return files by their generator: the name after `generators/` in a path, else `own`."""
    files: dict[str, list[Path]] = {}
    for path in map(Path, paths):
        name = path.as_posix().partition("/generators/")[2].split("/")[0]
        files.setdefault(name or own, []).append(path)
    return files


def generators_table(
    quality: Mapping[str, Sequence[Path]],
    copies: Mapping[str, Sequence[Path]],
    trained: pd.DataFrame | None,
    *,
    own: str,
    reference: str,
) -> pd.DataFrame:
    """Return one row per generator, class and score; last those of real images and noise.

    Args:
        quality: files of distances and similarity by generator.
        copies: memorisation.csv of each generator.
        trained: scores of classifiers, of `training_scores`.
        own: generator among whose files those of real images and noise are; it comes first.
        reference: image sets that distances compare with.
    """
    parts = [] if trained is None else [trained]
    for name, paths in quality.items():
        rows = image_quality(map(read_part, paths), reference, {})
        synthetic = rows["image_set"] == SYNTHETIC
        parts.append(rows[synthetic].assign(generator=name))
        if name == own:
            parts.append(rows[~synthetic].assign(generator=rows["image_set"]))
    parts += [_copies(read_part(path)).assign(generator=name)
              for name, [path] in copies.items()]  # fmt: skip
    table = pd.concat([part.reindex(columns=COLUMNS).astype(object) for part in parts])
    order = [own, *sorted({*quality} - {own}), *REFERENCES]
    table = table.sort_values("generator", key=lambda names: names.map(order.index), kind="stable")
    table = table.infer_objects().astype(dict.fromkeys(WHOLE, "Int64"))
    return table.reset_index(drop=True)


def training_scores(
    paths: Paths,
    classes: Sequence[str],
    *,
    own: str,
    specificity: float,
    n_resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Return the scores of classifiers trained on each generator's images, and on real ones.

    Differences are to this run's images in the same arm, training by training and image by image.

    Args:
        paths: predictions by `meddiff.cas.experiment`.
        own: name of this run's generator; the rest is as of `score_cells`.
    """
    names = {str(path): name for name, each in by_generator(paths, own).items() for path in each}
    runs = read_runs(names)
    of_real = ~runs["arm"].isin(OF_SYNTHETIC)
    runs["generator"] = runs["source_file"].map(names).mask(of_real, REFERENCES[0])
    cells = ["generator", "arm"]
    parts = []
    for name, rows in runs.groupby("classifier", sort=False):
        scored = score_cells(rows, cells, classes, specificity=specificity,
                             n_resamples=n_resamples, seed=seed)  # fmt: skip
        parts.append(
            cells_table(scored, cells, lambda cell: (own, cell[1])).assign(classifier=name)
        )
    return pd.concat(parts, ignore_index=True)


def _copies(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows of the search for copies, by pixels and by features."""
    searched = rows[rows["verdict"].notna()]
    searched = searched.assign(
        extractor=searched["by"].replace(PIXELS, ""),
        note=searched["verdict"],
        n_real=searched["n_training"],
    )
    return pd.concat(
        searched.assign(metric=metric, value=searched[column]) for column, metric in COPIES.items()
    )
