"""The page of an evaluation: one file that needs no other, for whoever decides on the images."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

AFFECTS_RESULTS = False


@dataclass(frozen=True)
class Bar:
    """A number with its interval on a scale.

    Attributes:
        name: what it is, in words.
        value: as text, with its interval.
        centre: the value's place on the scale, 0 to 1.
        low: the place of the interval's lower end; None without interval.
        high: that of its upper end.
        mark: place of what the value is compared with, or None.
    """

    name: str
    value: str
    centre: float
    low: float | None = None
    high: float | None = None
    mark: float | None = None


@dataclass(frozen=True)
class Chart:
    """Bars on one scale.

    Attributes:
        title: what the numbers are.
        text: how to read them.
        ends: what lies at the two ends of the scale.
        bars: the numbers.
    """

    title: str
    text: str
    ends: tuple[str, str]
    bars: Sequence[Bar]


@dataclass(frozen=True)
class Picture:
    """An image of a set.

    Attributes:
        source: PNG as a `data:` address.
        alt: what it is, for those who do not see it.
        caption: short text below it.
    """

    source: str
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Gallery:
    """Pictures in one row, or in pairs.

    Attributes:
        title: what they are.
        pictures: the pictures; of pairs, the two of a pair one after the other.
        paired: whether they are pairs.
    """

    title: str
    pictures: Sequence[Picture]
    paired: bool = False


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        head: names of columns.
        rows: cells.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class EvaluationPage:
    """What the page shows, top to bottom.

    Attributes:
        answer: in one sentence.
        because: the numbers that it rests on, or nothing.
        findings: pairs of a kind (problem, good, doubt) and a sentence.
        compared: what was compared, in a line.
        charts: numbers with intervals.
        verdict: what classifiers say, Markdown, or nothing.
        recognised: what classifiers take synthetic images for, or None.
        galleries: images of both sets.
        looks: images to look at: closest pairs, least real, least covered.
        criteria: of the seven criteria, name, what follows from this run, and what does not.
        numbers: every score.
        settings: names and values.
    """

    answer: str
    because: str
    findings: Sequence[tuple[str, str]]
    compared: str
    charts: Sequence[Chart]
    verdict: str
    recognised: Table | None
    galleries: Sequence[Gallery]
    looks: Sequence[Gallery]
    criteria: Sequence[tuple[str, str, str]]
    numbers: Table
    settings: Mapping[str, str]


def picture(image: np.ndarray, alt: str, caption: str = "") -> Picture:
    """Return an image, uint8 (h,w,1 or 3), as a picture within the page."""
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return Picture(f"data:image/png;base64,{data}", alt, caption)


def render(shown: EvaluationPage) -> str:
    """Return the page as HTML; names of files and classes are shown as text."""
    from meddiff.reporting.pages import as_html

    environment = Environment(
        loader=PackageLoader("meddiff.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("evaluation.html.j2")
    return template.render(page=shown, verdict=as_html(shown.verdict))
