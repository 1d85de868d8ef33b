"""Sections of the page of a run, and what it is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from meddiff.core.text import with_interval
from meddiff.reporting.page.charts import Chart, Mark
from meddiff.reporting.page.html import Picture, Table, anchor, embedded

if TYPE_CHECKING:
    from meddiff.reporting.reported import ReportedResult


@dataclass(frozen=True)
class Conclusion:
    """What one classifier says: a sentence of at most 25 words, and what it leaves open.

    Attributes:
        words: of the outcome, with the classifier's title.
        numbers: accuracies and their difference with its interval; empty without them.
        rest: what synthetic images do beside real ones, or empty.
        row: place of the row in the verdict's table that the numbers are of; None without numbers.
        doubts: further sentences.
    """

    words: str
    numbers: str = ""
    rest: str = ""
    row: int | None = None
    doubts: Sequence[str] = ()

    @property
    def sentence(self) -> str:
        """The whole sentence."""
        numbers = f" ({self.numbers})" if self.numbers else ""
        return f"{self.words}{numbers}{'; ' if self.rest else ''}{self.rest}."


@dataclass(frozen=True)
class Contents:
    """Finished files of a run, with sentences and numbers about them.

    Attributes:
        tables: by path below `results/`, without suffix: `table_5_2`, `matrices/fid_unet`.
        pictures: PNG files by path below `results/`, without suffix: `figures/image_sets`.
        classes: class names, the positive one last.
        answers: a sentence per classifier.
        controls: what was checked beside the question.
        limits: what the answer cannot say.
        questions: what is compared, in words, by name in the verdict's table.
        printed: the study's numbers; none for images that it did not have.
        lineage: records of every file behind the tables, by path.
    """

    tables: Mapping[str, pd.DataFrame]
    pictures: Mapping[str, Path]
    classes: Sequence[str]
    answers: Sequence[Conclusion] = ()
    controls: Sequence[str] = ()
    limits: Sequence[str] = ()
    questions: Mapping[str, str] = field(default_factory=dict)
    printed: "Sequence[ReportedResult]" = ()
    lineage: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Strip:
    """A picture, of one frame, or of several moments side by side that a slider goes through."""

    picture: Picture
    frames: int = 1


@dataclass(frozen=True)
class Part:
    """A part of a section, top to bottom: title, text, charts, sentences, pictures, tables."""

    title: str = ""
    text: str = ""
    charts: Sequence[Chart] = ()
    lines: Sequence[str] = ()
    pictures: Sequence[Strip] = ()
    tables: Sequence[Table] = ()
    layout: str = "stack"


@dataclass(frozen=True)
class Section:
    """A section: its anchor, title, title in the list of sections, and parts."""

    id: str
    title: str
    short: str
    parts: Sequence[Part]


def number(value: float) -> str:
    """Return a number in three to four digits."""
    if np.isnan(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def mark_of(
    row: Mapping[Any, Any], label: str, name: str, place: Any, *, column: str = "value",
    group: str = "", sign: str = "", reference: float = np.nan,
) -> Mark:  # fmt: skip
    """Return the line of a chart of one row of a table.

    Args:
        row: with `column`, and its ends in `ci_low`, or `<column>_ci_low`.
        name: of the table in the page, to whose row it links; empty for no link.
        place: of the row in the table.
    """
    prefix = f"{column}_" if f"{column}_ci_low" in row else ""
    value, low, high = (
        float(row.get(key, np.nan)) for key in (column, f"{prefix}ci_low", f"{prefix}ci_high")
    )
    text = "no value" if np.isnan(value) else with_interval(value, low, high, f"{sign}.3f")
    href = f"#{anchor(name, place)}" if name else ""
    return Mark(label, value, low, high, text, href, group, reference)


def pictures_of(contents: Contents, shown: Mapping[str, tuple[str, str]]) -> list[Strip]:
    """Return those pictures that the run has.

    Args:
        shown: caption and alternative text by name.
    """
    return [
        Strip(embedded(contents.pictures[name], alt, caption))
        for name, (caption, alt) in shown.items()
        if name in contents.pictures
    ]
