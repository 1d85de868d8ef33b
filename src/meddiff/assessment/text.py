"""The answer and the scores as text."""

import textwrap
from collections.abc import Mapping
from typing import Any

import pandas as pd

from meddiff.assessment.evaluate import Evaluation
from meddiff.core.text import with_interval
from meddiff.evaluation.compared import ALL
from meddiff.evaluation.rows import memorisation_row
from meddiff.evaluation.scores import ENDS
from meddiff.reporting.names import name_of

AFFECTS_RESULTS = False

MARKS = {"answer": "", "problem": "  problem: ", "good": "  good: ", "doubt": "  doubt: "}
WIDTH = 100


def as_answer(evaluation: Evaluation) -> str:
    """Return the answer, what it rests on, and the verdict of the classifiers, as text."""
    lines = [
        textwrap.fill(
            MARKS[each.kind] + each.text,
            WIDTH,
            subsequent_indent="    " if MARKS[each.kind] else "",
            break_long_words=False,
        )
        for each in evaluation.findings
    ]
    if evaluation.training is not None:
        lines += ["", evaluation.training.text]
    return "\n".join([*lines, ""])


def as_text(about: Mapping[str, Any], evaluation: Evaluation) -> str:
    """Return scores and notes as text, under a line that says of what.

    Args:
        about: `sets` (by name, their `path` and `n_images`), `pixels` (height, width, channels) of
            the images that SSIM compares, `seed`, and `extractors` (by name, their `weights`, the
            `size` in px of the images that they get, and a `caution` or none).
    """
    shown = ", ".join(
        f"{entry['n_images']} {name} ({entry['path']})" for name, entry in about["sets"].items()
    )
    height, width, _ = about["pixels"]
    scores = evaluation.scores
    lines = [f"{shown}; SSIM at {width}x{height} px; seed {about['seed']}; [95 % interval]", ""]
    lines += [cells(scores).to_string(index=False), ""]
    for name, entry in about["extractors"].items():
        lines.append(f"{name_of(name)}: images of {entry['size']} px; {entry['weights']}")
        lines += [f"{name_of(name)}: {entry['caution']}"] if entry["caution"] else []
    lines += [each.replace(key, name_of(key), 1) for key, each in evaluation.left_out.items()]
    noted = scores.dropna(subset=["note"])
    for row in noted.to_dict("records"):
        part = "" if row["class"] == ALL else f" of {row['class']}"
        lines.append(f"{named(row)}{part}: {row['note']}")
    if (scores[["n_real", "n_synthetic"]].min(axis=1) <= scores["dimension"]).any():
        lines.append(
            "fewer images than dimensions: FID is mostly bias, and less of it for images that vary "
            "less; look at KID, recall and coverage"
        )
    sets = about["sets"]
    lines += _copies(evaluation, sets["synthetic"]["n_images"], "unseen" in sets)
    return "\n".join(lines)


def cells(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the table's cells as text, without empty columns."""
    table = (
        scores[["class", "metric", "extractor"]]
        .astype(object)
        .assign(
            metric=scores["metric"].map(name_of),
            extractor=["" if pd.isna(each) else name_of(each) for each in scores["extractor"]],
            value=_with_ends(scores, "value", "ci_low", "ci_high"),
            **{
                name: _with_ends(scores, *(f"{name}{end}" for end in ENDS))
                for name in ("floor", "ceiling", "matched", "score")
            },
            dimension=["" if pd.isna(each) else f"{each:.4g}" for each in scores["dimension"]],
        )
    )
    if (table["class"] == ALL).all():
        table = table.drop(columns="class")
    return table.fillna("").loc[:, lambda table: (table != "").any()]


def named(row: Mapping[Any, Any]) -> str:
    """Return the metric of a row with its extractor, if it has one."""
    net = "" if pd.isna(row["extractor"]) else f" of {name_of(row['extractor'])}"
    return f"{name_of(row['metric'])}{net}"


def _copies(evaluation: Evaluation, count: int, has_unseen: bool) -> list[str]:
    """Return the lines on copies among `count` synthetic images."""
    if evaluation.memorisation is None:
        return []
    others = "unseen images" if has_unseen else "real images of other groups"
    row = memorisation_row(evaluation.memorisation)
    lines = [
        f"{row['verdict']}: {row['suspects']} of {count} synthetic images are closer to a training "
        f"image than {others} (p {row['suspects_p']:.2g}), {row['identical']} much closer; "
        f"in the median {row['synthetic']:.3g} grey levels (RMSE), {others} {row['unseen']:.3g}"
    ]
    for name, copies in evaluation.changed_copies.items():
        lines.append(
            f"by features of {name_of(name)}, which see crops, shifts and colours: "
            f"{copies.verdict}, {copies.suspects} of {count} closer than {others} "
            f"(p {copies.suspects_p:.2g})"
        )
    if not has_unseen:
        lines.append("beside images of --unseen, which the generator never saw, copies show better")
    if row["leaked"]:
        which = "unseen images that are training" if has_unseen else "real images that are other"
        lines.append(f"{which} images, or nearly so, left out of this: {row['leaked']}")
    return lines


def _with_ends(scores: pd.DataFrame, *columns: str) -> list[str]:
    return [
        "" if pd.isna(value) else with_interval(value, low, high, ".4g", ".3g")
        for value, low, high in scores[list(columns)].astype(float).to_numpy()
    ]
