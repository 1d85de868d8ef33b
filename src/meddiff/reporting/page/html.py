"""What pages are made of: pictures, tables and cells that link to rows; and the templates."""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image


@dataclass(frozen=True)
class Picture:
    """An image within the page.

    Attributes:
        source: as a `data:` address.
        alt: what it is, for those who do not see it.
        caption: short text below it.
        width: px.
        height: px.
    """

    source: str
    alt: str
    caption: str = ""
    width: int = 0
    height: int = 0


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
class Cell:
    """A cell of a table: text, the row that it is taken from, a text on hover, colours."""

    text: str
    href: str = ""
    title: str = ""
    style: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        head: names of columns.
        rows: cells, or plain text.
        caption: what it is, if no text beside it says so.
        ids: anchors of the rows, or nothing.
        kind: class of the style sheet.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    caption: str = ""
    ids: Sequence[str] = field(default=())
    kind: str = ""


def picture(image: np.ndarray, alt: str, caption: str = "") -> Picture:
    """Return an image, uint8 (h,w,1 or 3), as a picture within the page."""
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG")
    return Picture(address(buffer.getvalue()), alt, caption, image.shape[1], image.shape[0])


def embedded(path: str | Path, alt: str, caption: str = "") -> Picture:
    """Return the bytes of a PNG file as a picture within the page."""
    data = Path(path).read_bytes()
    with Image.open(io.BytesIO(data)) as image:
        return Picture(address(data), alt, caption, *image.size)


def address(image: bytes, kind: str = "png") -> str:
    """Return an image file as a `data:` address; `kind` is its media type after `image/`."""
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


def anchor(name: str, place: Any) -> str:
    """Return the id of a table's row in the page: its name, and its line in the CSV (from 2)."""
    return f"{re.sub(r'[^A-Za-z0-9_]', '-', name)}-{int(place) + 2}"


def rows_of(
    table: pd.DataFrame, name: str, hidden: Sequence[str] = (), *, spaced: bool = False
) -> Table:
    """Return all rows of a table with their anchors, without empty columns and those to hide.

    Args:
        spaced: whether names of columns are for people, or those of the CSV.
    """
    shown = table.drop(columns=list(hidden), errors="ignore").dropna(axis="columns", how="all")
    rows = [[plain(value) for value in row] for row in shown.itertuples(index=False)]
    ids = [anchor(name, place) for place in range(len(shown))]
    head = [str(column).replace("_", " ") if spaced else str(column) for column in shown.columns]
    return Table(head, rows, ids=ids, kind="numbers")


def plain(value: Any) -> str:
    """Return a value of a table as text, numbers in six digits as in the CSV, NaN as nothing."""
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.6g}"
    return "" if value is None or value is pd.NA else str(value)


def render(template: str, context: Mapping[str, Any]) -> str:
    """Return a page as HTML; all names of files and classes in it are shown as text."""
    environment = Environment(
        loader=PackageLoader("meddiff.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = _code
    return environment.get_template(template).render(**context)


def _code(text: str) -> Markup:
    """Return text as HTML, what stands between backticks as code."""
    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else part
        for place, part in enumerate(parts)
    )
