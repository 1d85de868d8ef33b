"""The page of an evaluation, from its result and the images."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from meddiff.assessment.criteria import criteria
from meddiff.assessment.evaluate import Evaluation
from meddiff.assessment.text import cells, named
from meddiff.assessment.training import STAMP, Training
from meddiff.cas.verdict import QUESTIONS
from meddiff.cas.verdict_text import answers, controls, limits
from meddiff.core.files import write_text
from meddiff.data.image_sets import ImageSet
from meddiff.evaluation.compared import ALL, AnyImages, as_image_set
from meddiff.metrics.images import places_by_contents
from meddiff.reporting.names import name_of
from meddiff.reporting.page.charts import Mark, Scale, marks_chart
from meddiff.reporting.page.html import Gallery, Picture, Table, picture, render
from meddiff.reporting.page.quality import SCORE
from meddiff.reporting.page.sections import Part, mark_of
from meddiff.reporting.page.taught import accuracies, arms_chart, forest, how_to_read

AFFECTS_RESULTS = False

SHOWN, LOOKED_AT = 12, 8
"""Images of a set and class, and pairs or images to look at."""
MOST_CLASSES = 7
"""Classes whose images are shown."""
PACKAGES = ("meddiff", "numpy", "torch", "torchvision", "scikit-learn", "opencv-python-headless")


def write_report(
    path: str | Path,
    evaluation: Evaluation,
    real: AnyImages,
    synthetic: AnyImages,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Write one HTML page that needs no other file.

    Args:
        path: of the page; it is written whole or not at all.
        evaluation: of these images, as `evaluate` took them.
        settings: what else the reader needs to know, by name.
    """
    sets = {"real": as_image_set(real), "synthetic": as_image_set(synthetic)}
    page = _page(evaluation, sets) | {"settings": {**(settings or {}), **_versions()}}
    write_text(render("evaluation.html.j2", {"page": page}), path)


def _page(evaluation: Evaluation, sets: Mapping[str, ImageSet]) -> dict[str, Any]:
    """Return what the template shows, but settings."""
    training = evaluation.training
    sides = sets["real"].images.shape[1:3]
    counts = " and ".join(f"{len(each):,} {name} images" for name, each in sets.items())
    groups = sets["real"].groups
    patients = f", of {len(set(groups)):,} patients or lesions" if groups else ""
    answer, _, because = evaluation.answer.partition(":")
    taught = training if training is not None and len(training.verdict) else None
    return {
        "answer": answer,
        "because": because.strip().capitalize(),
        "findings": evaluation.findings[1:],
        "compared": f"{counts}{patients}, shown and trained on at {sides[1]} x {sides[0]} px; "
        "[95 % intervals].",
        "near": list(_near(evaluation.scores)),
        "answers": answers(taught.verdict) if taught else [],
        "taught": list(_taught(taught)) if taught else [],
        "galleries": list(_galleries(sets)),
        "looks": list(_looks(evaluation, sets)),
        "criteria": criteria(evaluation),
        "numbers": _numbers(evaluation.scores),
    }


def _near(scores: pd.DataFrame) -> Iterator[Part]:
    scored = scores.dropna(subset=["score"])
    if len(scored):
        yield Part(
            "From noise to real",
            "Where the distance to real images, FID or KID, is between that of noise (0) and "
            "that of as many unseen real images (1). The dot is the score, the bar its interval.",
            [marks_chart(_marks(scored, "score"), SCORE, "Scores of FID and KID with intervals")],
        )
    shares = scores[scores["metric"].isin(["precision", "recall", "coverage", "authpct"])]
    if len(shares):
        marks, scale = _marks(shares, "value", "floor"), Scale("share of the images", 0, 1, {})
        yield Part(
            "Which images have their like",
            "Precision: synthetic images that lie where real ones do. Recall and coverage: real "
            "images that synthetic ones reach. AuthPct: synthetic images that are no nearer to a "
            "real one than real ones are. The upright mark is what unseen real images reach.",
            [marks_chart(marks, scale, "Precision, recall, coverage and AuthPct with intervals")],
        )


def _marks(rows: pd.DataFrame, column: str, references: str = "") -> list[Mark]:
    """Return rows as lines of a chart, those of one class together."""
    order = rows.assign(each=rows["class"] != ALL).sort_values(["each", "class"], kind="stable")
    groups = {ALL: "all images" if order["each"].any() else ""}
    return [
        mark_of(row, named(row), "", 0, column=column,
                group=groups.get(row["class"], str(row["class"])),
                reference=float(row[references]) if references else np.nan)
        for row in order.to_dict("records")
    ]  # fmt: skip


def _taught(training: Training) -> Iterator[Part]:
    """Yield what classifiers say."""
    table, questions = training.verdict, {name: each.text for name, each in QUESTIONS.items()}
    yield Part("Differences", how_to_read(table), [forest(table, questions, name="")])
    yield accuracies([arms_chart(training.scores, len(training.images["test"]), "")])
    yield Part(
        "What classifiers trained on real images take synthetic ones for",
        tables=[_recognised(training.recognised)],
    )
    yield Part("Controls", lines=controls(table, training.scores, wording=training.wording))
    yield Part("Limits", lines=limits(table, STAMP, training.wording))


def _galleries(sets: Mapping[str, ImageSet]) -> Iterator[Gallery]:
    both = sets["synthetic"].labels is not None
    labels: list[str | None] = [*sorted(set(sets["real"].labels or ()))] if both else []
    for label in labels[:MOST_CLASSES] or [None]:
        for name, each in sets.items():
            places = places_by_contents(each.images)
            if label is not None:
                places = places[np.array(each.labels)[places] == label]
            title = f"{name}, {label}" if label is not None else name
            pictures = [_picture(each, place, name) for place in places[:SHOWN]]
            yield Gallery(title.capitalize(), pictures)


def _picture(images: ImageSet, place: int, name: str, caption: str = "") -> Picture:
    shown = images.ids[place] if images.ids else f"number {place}"
    label = f" of class {images.labels[place]}" if images.labels else ""
    return picture(images.images[place], f"{name} image{label}: {shown}", caption)


def _looks(evaluation: Evaluation, sets: Mapping[str, ImageSet]) -> Iterator[Gallery]:
    """Yield closest pairs, the synthetic images least like real ones, and real ones uncovered."""
    copies = evaluation.memorisation
    if copies is not None:
        pictures = []
        for place in copies.distances.argsort(kind="stable")[:LOOKED_AT]:
            apart = f"real, {copies.distances[place]:.3g} grey levels"
            if copies.copied[place]:
                apart += ", a copy"
            pictures += [
                _picture(sets["synthetic"], place, "synthetic", "synthetic"),
                _picture(sets["real"], copies.nearest[place], "nearest real", apart),
            ]
        yield Gallery("Closest pairs, by pixels", pictures, paired=True)
    for name, title in (
        ("synthetic", "Synthetic images least like real ones"),
        ("real", "Real images that synthetic ones cover least"),
    ):
        rows = evaluation.images[evaluation.images["image_set"] == name].reset_index(drop=True)
        order = rows["distance"].astype(float).argsort(kind="stable")[::-1][:LOOKED_AT]
        yield Gallery(
            title,
            [
                _picture(sets[name], place, name, f"{rows['distance'][place]:.3g} to the nearest")
                for place in order
            ],
        )


def _recognised(shares: pd.DataFrame) -> Table:
    classes = list(dict.fromkeys([*shares["class"], *shares["predicted"]]))
    wide = shares.pivot(index=["classifier", "class"], columns="predicted", values="share")
    wide = wide.reindex(columns=classes).fillna(0)
    rows = [
        [name_of(classifier), f"synthetic {name}", *(f"{value:.0%}" for value in row)]
        for (classifier, name), row in zip(wide.index, wide.to_numpy(), strict=True)
    ]
    return Table(["classifier", "images", *(f"taken for {name}" for name in classes)], rows)


def _numbers(scores: pd.DataFrame) -> Table:
    table = cells(scores)
    rows = table.astype(str).to_numpy().tolist()
    return Table(list(table.columns), rows, kind="numbers")


def _versions() -> dict[str, str]:
    versions = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def settings_of(about: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, str]:
    """Return what a reader needs to know of a command: sets, extractors, options that were set."""
    shown = {name: f"{entry['path']} ({entry['n_images']:,} images)"
             for name, entry in about["sets"].items()}  # fmt: skip
    for name, entry in about["extractors"].items():
        shown[f"extractor {name}"] = f"{entry['weights']}, SHA-256 {entry['digest']}"
    for name, value in options.items():
        # A seed of 0 is one.
        is_set = value is not None and value is not False and value != []
        if is_set and name not in ("command", "real", "synthetic", "unseen"):
            values = value if isinstance(value, list) else [value]
            shown[f"--{name.replace('_', '-')}"] = " ".join(map(str, values))
    return shown
