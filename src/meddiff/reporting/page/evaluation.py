"""The page of an evaluation: one file that needs no other, for whoever decides on the images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meddiff.reporting.page.charts import Chart
from meddiff.reporting.page.html import Gallery, Table, render
from meddiff.reporting.page.sections import Answer

AFFECTS_RESULTS = False


@dataclass(frozen=True)
class Titled:
    """A chart with its title, and how to read it."""

    title: str
    text: str
    chart: Chart


@dataclass(frozen=True)
class Taught:
    """What classifiers say.

    Attributes:
        answers: a sentence per classifier.
        charts: differences, and accuracies by what a classifier was trained on.
        recognised: what classifiers take synthetic images for, or None.
        controls: what was checked beside the question.
        limits: what the answers cannot say.
    """

    answers: Sequence[Answer]
    charts: Sequence[Titled]
    recognised: Table | None
    controls: Sequence[str]
    limits: Sequence[str]


@dataclass(frozen=True)
class EvaluationPage:
    """What the page shows, top to bottom.

    Attributes:
        answer: in one sentence.
        because: the numbers that it rests on, or nothing.
        findings: pairs of a kind (problem, good, doubt) and a sentence.
        compared: what was compared, in a line.
        charts: numbers with intervals.
        taught: what classifiers say; None where none was trained.
        galleries: images of both sets.
        looks: images to look at: closest pairs, least real, least covered.
        criteria: of the seven criteria, name, what is said here, and what cannot be.
        numbers: every score.
        settings: names and values.
    """

    answer: str
    because: str
    findings: Sequence[tuple[str, str]]
    compared: str
    charts: Sequence[Titled]
    taught: Taught | None
    galleries: Sequence[Gallery]
    looks: Sequence[Gallery]
    criteria: Sequence[tuple[str, str, str]]
    numbers: Table
    settings: Mapping[str, str]


def evaluation_page(shown: EvaluationPage) -> str:
    """Return the page as HTML; names of files and classes are shown as text."""
    return render("evaluation.html.j2", {"page": shown})
