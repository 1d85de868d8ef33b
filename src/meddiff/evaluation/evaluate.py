"""Two sets of images scored against each other, whoever made them: `meddiff evaluate`."""

from collections.abc import Callable, Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from meddiff.core.arrays import load_images
from meddiff.core.errors import MeddiffError
from meddiff.core.progress import Progress
from meddiff.data.preprocessing.packing import judge_files
from meddiff.data.preprocessing.transforms import Oddities, preprocess_files
from meddiff.data.readers.archive import Group, map_groups, open_archive
from meddiff.data.readers.depth import DeepError, Window, Windows
from meddiff.data.sources.files import image_names
from meddiff.metrics.copies import copies_row, find_copies
from meddiff.metrics.distances import distance_rows
from meddiff.metrics.images import places_by_contents
from meddiff.metrics.inception import inception_interval
from meddiff.metrics.intervals import LEAST as HALVED
from meddiff.metrics.intervals import pairs_interval
from meddiff.metrics.noise import noise_like
from meddiff.metrics.similarity import PAIRS, SCALES, pairs_of, too_small, window_of

Features = Callable[[np.ndarray], np.ndarray]
"""Maps uint8 images (n,s,s,C) to features (n,d)."""

ENDS = ("", "_ci_low", "_ci_high")
SCORE = [f"{name}{end}" for name in ("matched", "score") for end in ENDS]
COLUMNS = ["metric", "extractor", "value", "ci_low", "ci_high",
           *(f"{name}{end}" for name in ("floor", "ceiling") for end in ENDS), *SCORE, "n_real",
           "n_synthetic", "dimension", "note"]  # fmt: skip
LEAST = 8
"""Images that a set must have."""


def read_image_set(
    path: Path, *, crop: int | None, size: int, windows: dict[str, Window] | None = None
) -> np.ndarray:
    """Return the images of a folder, a zip, a tar or an .npy, uint8 (n,s,s,C), in order of names.

    Args:
        path: what to read; folders with all that is below them.
        crop: side of the centred square in px of each file, or None for the largest.
        size: side of the result in px; an .npy is taken as it is.
        windows: of images of more than 8 bits, by type of pixels: those of sets that were read
            before hold here too, and those of this set are added.

    Raises:
        MeddiffError: there are fewer than 8 images, one cannot be read, those of more than 8
            bits have another range than the windows, or memory is too small for the size.
    """
    if path.suffix == ".npy":
        images = load_images(path)
    else:
        with open_archive(path) as archive:
            names = image_names(archive.names(), path)
        images = _prepared(path, names, crop, size, {} if windows is None else windows)
    if len(images) < LEAST:
        raise MeddiffError(f"{path} holds {len(images)} images: scores need at least {LEAST}")
    return images


def evaluate(
    real: np.ndarray,
    synthetic: np.ndarray,
    extractors: Mapping[str, Features],
    *,
    probabilities: Mapping[str, Features] = {},
    unseen: np.ndarray | None = None,
    most: int = 500,
    n_resamples: int = 200,
    seed: int = 0,
) -> dict[str, Any]:
    """Return every score of synthetic images, as plain data.

    Args:
        real: uint8 (n,s,s,C), what the synthetic images are to be like.
        synthetic: uint8 (m,s,s,C).
        extractors: by name, what gives features; those of `clip` are compared by CMMD as well.
        probabilities: by the name of an extractor, what maps its features to those of classes
            (n,c), for the Inception Score.
        unseen: real images that the generator has not learnt from, if it has from `real`: without
            them nothing can be said of copies.
        most: images of each set whose pairs SSIM and MS-SSIM take, drawn at random.
        n_resamples: random half-samples behind an interval.
        seed: fixes what is drawn.

    Returns:
        `scores`: one dictionary a metric, with the keys of `COLUMNS`. `floor` is the value of real
        images, `ceiling` that of noise and `matched` that of synthetic images, each of one number
        of images against as many others: half of the real ones against the rest, over random
        halves. `score` is where between floor (1) and ceiling (0) `matched` lies. All have ends of
        a 95 % interval. `left_out`: by metric, why it has no row. `memorisation`: see
        `meddiff.metrics.Memorisation`; None without `unseen`. The order of images changes nothing
        but that of `nearest`.

    Raises:
        MeddiffError: the sets differ in size or channels, or `most` or `n_resamples` is below 4.
    """
    for name, number in (("most", most), ("n_resamples", n_resamples)):
        if not isinstance(number, Integral) or number < HALVED:
            raise MeddiffError(f"{name} is {number}: it must be a whole number, 4 or more")
    sets = {"real": real, "synthetic": synthetic}
    for name, images in (sets if unseen is None else {**sets, "unseen": unseen}).items():
        if images.shape[1:] != real.shape[1:]:
            raise MeddiffError(
                f"real images are {real.shape[1:]} (height, width, channels), {name} ones "
                f"{images.shape[1:]}: pack both alike"
            )
    copies = None if unseen is None else find_copies(real, synthetic, unseen)
    sets = {name: images[places_by_contents(images, seed)] for name, images in sets.items()}
    noise = noise_like(sets["real"], len(synthetic), seed=seed, name="evaluate")
    rows: list[dict[str, Any]] = []
    # Features of three sets, then for each distance three matched ones.
    parts = sum(9 + 3 * (name == "clip") for name in extractors) + len(sets) * len(PAIRS)
    with Progress(parts, "evaluate", "part") as progress:
        for name, features in extractors.items():
            found: dict[str, np.ndarray] = {}
            for key, images in {**sets, "noise": noise}.items():
                found[key] = features(images)
                progress.advance()
            rows += _feature_scores(
                name, found, probabilities.get(name), n_resamples, seed, progress.advance
            )
        for key, images in sets.items():
            rows += _similarities(key, images[:most], n_resamples, seed, progress)
    table = pd.DataFrame(rows).reindex(columns=COLUMNS).astype(object)
    reasons = {metric: too_small(metric, min(real.shape[1:3])) for metric in PAIRS}
    return {
        "scores": table.where(table.notna(), None).to_dict("records"),
        "left_out": {metric: reason for metric, reason in reasons.items() if reason},
        "memorisation": copies and {**copies_row(copies), "nearest": copies.nearest.tolist()},
    }


def as_text(about: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Return what `evaluate` found as a table for people, under a line that says of what."""
    sets = ", ".join(
        f"{told['images']} {name} ({told['path']})" for name, told in about["sets"].items()
    )
    height, width, _ = about["pixels"]
    scores = pd.DataFrame(found["scores"]).reindex(columns=COLUMNS)
    scores["dimension"] = scores["dimension"].astype(float)
    table = scores[["metric", "extractor"]].assign(
        value=_with_ends(scores, "value", "ci_low", "ci_high"),
        **{
            name: _with_ends(scores, *(f"{name}{end}" for end in ENDS))
            for name in ("floor", "ceiling", "matched", "score")
        },
        dimension=scores["dimension"].map(_number),
    )
    table = table.fillna("").loc[:, lambda t: (t != "").any()]
    lines = [f"{sets}; {width}x{height} px, seed {about['seed']}; [95 % interval]", ""]
    lines += [table.to_string(index=False), ""]
    lines += [f"{name}: {told['weights']}" for name, told in about["extractors"].items()]
    lines += [str(reason) for reason in found["left_out"].values()]
    noted = scores.dropna(subset=["note"])
    lines += [f"{row.metric} {row.extractor}: {row.note}" for row in noted.itertuples()]
    if (scores[["n_real", "n_synthetic"]].min(axis=1) <= scores["dimension"]).any():
        lines.append(
            "fewer images than dimensions: FID is mostly bias, and less of it for images that vary "
            "less; look at KID, recall and coverage"
        )
    if copies := found["memorisation"]:
        size = about["sets"]["synthetic"]["images"]
        lines.append(
            f"{copies['verdict']}: {copies['suspects']} of {size} synthetic images are "
            f"closer to a training image than the unseen ones (p "
            f"{copies['suspects_p']:.2g}), {copies['identical']} much closer; in the median "
            f"{copies['synthetic']:.3g} grey levels (RMSE), unseen images {copies['unseen']:.3g}"
        )
        if copies["duplicates"]:
            lines.append(
                f"unseen images that are training images, or nearly so, left out of this: "
                f"{copies['duplicates']}"
            )
    else:
        lines.append("copies of training images: not looked for, give --unseen")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "" if pd.isna(value) else f"{value:.4g}"


def _with_ends(scores: pd.DataFrame, *columns: str) -> list[str]:
    return [
        _number(value) + ("" if pd.isna(low) else f" [{low:.3g}, {high:.3g}]")
        for value, low, high in scores[list(columns)].astype(float).to_numpy()
    ]


def _prepared(
    path: Path, names: list[str], crop: int | None, size: int, windows: dict[str, Window]
) -> np.ndarray:
    try:
        return _preprocessed(path, names, crop, size, {})
    except DeepError:
        windows |= judge_files(path, names, windows)
        return _preprocessed(path, names, crop, size, windows)


def _preprocessed(
    path: Path, names: list[str], crop: int | None, size: int, windows: Windows
) -> np.ndarray:
    try:
        images = np.empty((len(names), size, size, 3), np.uint8)
    except (MemoryError, ValueError) as error:
        raise MeddiffError(
            f"{path} holds {len(names)} images, which at {size} x {size} px need "
            f"{len(names) * size**2 * 3 / 2**30:,.0f} GiB of memory: lower --size"
        ) from error
    oddities = Oddities()

    def prepare(group: Group) -> tuple[list[int], np.ndarray]:
        files = [(data, f"{names[place]} in {path}") for place, data in group]
        return [place for place, _ in group], preprocess_files(
            files, crop=crop, size=size, windows=windows, oddities=oddities
        )

    with Progress(len(names), f"read {path}", "image") as progress:
        for places, pixels in map_groups(prepare, [(str(path), name) for name in names]):
            images[places] = pixels
            progress.advance(len(places))
    oddities.log(len(names), size)
    return images


def _feature_scores(
    extractor: str,
    found: Mapping[str, np.ndarray],
    classify: Features | None,
    n_resamples: int,
    seed: int,
    progress: Callable[[], None],
) -> list[dict[str, Any]]:
    """Distances between floor and ceiling, and what nearest neighbours say."""
    real, synthetic = found["real"], found["synthetic"]
    scored = {key: {"all": found[key]} for key in ("synthetic", "noise")}
    table = distance_rows(
        extractor, {"all": real}, scored, n_resamples=n_resamples, seed=seed, progress=progress
    ).set_index(["metric", "image_set"])
    common = {"extractor": extractor, "dimension": real.shape[1]}
    rows = []
    for metric in table.index.get_level_values("metric").unique():
        told = table.loc[metric]
        own = ["value", "ci_low", "ci_high", *SCORE, "n_real", "n_synthetic", "note"]
        row = {"metric": metric, **common, **told.reindex(columns=own).loc["synthetic"]}
        for name, images in (("floor", "real"), ("ceiling", "noise")):
            if images in told.index:
                values = told.loc[images, ["value", "ci_low", "ci_high"]]
                row |= zip((f"{name}{end}" for end in ENDS), values, strict=True)
        rows.append(row)
    if classify is not None:
        score = inception_interval(classify(synthetic), n_resamples=n_resamples, seed=seed)
        rows.append({"metric": "inception_score", **common, "value": score.value,
                     "ci_low": score.low, "ci_high": score.high,
                     "n_synthetic": len(synthetic)})  # fmt: skip
    return rows


def _similarities(
    key: str, images: np.ndarray, n_resamples: int, seed: int, progress: Progress
) -> list[dict[str, Any]]:
    """Mean over pairs within one set: above that of real images, variety is lacking."""
    rows = []
    for metric in PAIRS:
        progress.advance()
        window = {"kernel_size": window_of(metric, min(images.shape[1:3]))}
        values = pairs_of(metric, images, window if metric in SCALES else {})
        if len(values):
            found = pairs_interval(values, n_resamples=n_resamples, seed=seed)
            rows.append(
                {
                    "metric": f"{metric} within {key}",
                    "value": found.value,
                    "ci_low": found.low,
                    "ci_high": found.high,
                    f"n_{key}": len(images),
                }
            )
    return rows
