"""Charts of a page, drawn by matplotlib as SVG within the HTML.

Each is drawn twice, for a wide and for a narrow page, so that its text keeps its size. Colours are
those of the page's style sheet, so that they follow light and dark.
"""

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from typing import Any

import numpy as np
from markupsafe import Markup

WIDTHS = {"wide": 980, "narrow": 350}
"""Of a chart, px."""
COLOURS = {"ink": "#1c2024", "soft": "#56606b", "paper": "#fffffe", "line": "#d5dbe1",
           "bar": "#1f5fa8", "range": "#a9c5e4", "mark": "#b45309", "band": "#e9edf2",
           "s1": "#1f5fa9", "s2": "#b45308", "s3": "#19703a", "s4": "#8a2f86",
           "s5": "#5b5f00", "s6": "#b3261e"}  # fmt: skip
"""Variables of the style sheet by name; each has a colour of its own, by which the SVG names it."""
SERIES = [f"s{number}" for number in range(1, 7)]
FONT = 13


@dataclass(frozen=True)
class Chart:
    """A chart: SVG by width, and what it shows, for those who do not see it."""

    drawings: Mapping[str, Markup]
    alt: str


@dataclass(frozen=True)
class Mark:
    """A value with its interval, one line of a chart.

    Attributes:
        label: what it is of.
        value: may be NaN.
        low: end of the interval; NaN without one.
        high: the other end.
        text: value and interval, in words.
        href: where its row stands in the page, or nothing.
        group: heading that it stands below; lines of one group are neighbours.
        reference: what the value is compared with on its own line; NaN without one.
    """

    label: str
    value: float
    low: float
    high: float
    text: str
    href: str = ""
    group: str = ""
    reference: float = np.nan


@dataclass(frozen=True)
class Scale:
    """The axis of a chart.

    Attributes:
        title: what is measured.
        low: left end.
        high: right end.
        references: names of values that stand for something, e.g. chance.
        band: values that do not matter, or that another set reaches.
    """

    title: str
    low: float
    high: float
    references: Mapping[str, float]
    band: tuple[float, float] | None = None


def marks_chart(marks: Sequence[Mark], scale: Scale, alt: str) -> Chart:
    """Draw values with their intervals below each other on one scale (a forest plot)."""
    return _chart(lambda width: _marks(marks, scale, width), alt)


def curves_chart(
    curves: Mapping[str, Sequence[tuple[float, float, float, float]]], x: str, y: str, alt: str
) -> Chart:
    """Draw curves with bands.

    Args:
        curves: by name, points (x, y, low, high); low and high NaN without an interval.
    """
    return _chart(lambda width: _curves(curves, x, y, width), alt)


def _chart(draw: Callable[[int], Any], alt: str) -> Chart:
    import matplotlib

    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": "meddiff", "font.size": FONT,
                "axes.linewidth": 0.8}  # fmt: skip
    # Letters that matplotlib's font lacks are drawn by the reader's.
    with matplotlib.rc_context(settings), warnings.catch_warnings(action="ignore"):
        return Chart({name: _svg(draw(width), alt) for name, width in WIDTHS.items()}, alt)


def _figure(width: int, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width / 72, height / 72))


def _svg(figure: Any, alt: str) -> Markup:
    """Return a figure as SVG that takes its colours, font and place from the page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None,
                   "Format": None, "Type": None})  # fmt: skip
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<(metadata|style).*?</\1>", "", text, flags=re.S)
    width, height = re.findall(r'(?:width|height)="([\d.]+)pt"', text)[:2]
    head = f'<svg viewBox="0 0 {width} {height}" role="group" aria-label="{escape(alt)}">'
    text = head + text[text.index(">") + 1 :]
    for name, colour in COLOURS.items():
        text = text.replace(colour, f"var(--{name})")
    text = re.sub(r"font: ([^;\"]*?)'[^;\"]*", r"font: \1var(--font)", text)
    text = re.sub(r"font-family: [^;\"]*", "font-family: var(--font)", text)
    # Several drawings share the page: ids get a prefix, and those that nothing refers to go.
    prefix = f"c{sha256(text.encode()).hexdigest()[:8]}-"
    own = set(re.findall(r'id="([^"]+)"', text))
    used = {name for name in own if f"#{name}" in text}
    text = re.sub(r' id="([^"]+)"', lambda m: f' id="{prefix}{m[1]}"' * (m[1] in used), text)
    text = re.sub(r'(href="#|url\(#)([^")]+)', lambda m: m[1] + prefix * (m[2] in own) + m[2], text)
    return Markup(re.sub(r"\n+", "\n", text.replace("xlink:href", "href")))


@dataclass(frozen=True)
class _Layout:
    """Room left of and right of the axis, height of a line, and heights within it, px."""

    label: int
    number: int
    step: int
    title: int
    text: int
    dot: int


def _layout(marks: Sequence[Mark], narrow: bool) -> _Layout:
    """Return where text stands: beside the marks, or on a narrow page above them."""
    if not narrow:
        return _Layout(300, 210, 26, 12, 12, 12)
    if all(len(mark.label) + len(mark.text) <= 38 for mark in marks):
        return _Layout(18, 18, 44, 10, 10, 30)
    return _Layout(18, 18, 60, 10, 28, 46)


def _marks(marks: Sequence[Mark], scale: Scale, width: int) -> Any:
    narrow = width == WIDTHS["narrow"]
    layout = _layout(marks, narrow)
    lines, height = _lines(marks, layout.step)
    label, number = layout.label, layout.number
    bottom = 40
    figure = _figure(width, height + bottom)
    share = (width - label - number) / width
    axis = figure.add_axes((label / width, bottom / (height + bottom), share,
                            height / (height + bottom)))  # fmt: skip
    axis.set(xlim=(scale.low, scale.high), ylim=(height, 0), yticks=[])
    axis.set_xlabel(scale.title, color=COLOURS["soft"])
    axis.tick_params(axis="x", colors=COLOURS["soft"], labelsize=FONT - 1)
    for side in ("left", "right", "top"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set_color(COLOURS["line"])
    if scale.band:
        axis.axvspan(*scale.band, color=COLOURS["band"], linewidth=0, zorder=0)
    for place in scale.references.values():
        axis.plot(
            [place, place],
            [16, height],
            color=COLOURS["soft"],
            linewidth=1,
            linestyle=(0, (2, 2)),
            zorder=1,
        )
    for name, place in scale.references.items():
        axis.annotate(name, (place, 13), (0, 0), textcoords="offset points", ha="center",
                      va="bottom", color=COLOURS["soft"], fontsize=FONT - 1,
                      annotation_clip=False)  # fmt: skip
    for top, line in lines:
        if isinstance(line, str):
            axis.annotate(line, (0, top + 16), (4 - label, 0), xycoords=("axes fraction", "data"),
                          textcoords="offset points", color=COLOURS["ink"], weight="bold",
                          va="center", annotation_clip=False, parse_math=False)  # fmt: skip
        else:
            _mark(axis, line, top, scale, layout)
    return figure


def _lines(marks: Sequence[Mark], step: int) -> tuple[list[tuple[float, "Mark | str"]], float]:
    """Return headings and marks with the top of their lines, and the height of all, px."""
    lines: list[tuple[float, Mark | str]] = []
    top = 18.0
    for place, mark in enumerate(marks):
        if mark.group and (place == 0 or marks[place - 1].group != mark.group):
            lines.append((top, mark.group))
            top += 28
        lines.append((top, mark))
        top += step
    return lines, top + 4


def _mark(axis: Any, mark: Mark, top: float, scale: Scale, layout: _Layout) -> None:
    y = top + layout.dot
    words = {"textcoords": "offset points", "annotation_clip": False, "va": "center",
             "parse_math": False}  # fmt: skip
    for text, place, shift, line, name in (
        (mark.label, 0, 4 - layout.label, layout.title, "ink"),
        (mark.text, 1, layout.number - 4, layout.text, "bar" if mark.href else "soft"),
    ):
        drawn = axis.annotate(
            text if place else _short(text, 44), (place, top + line), (shift, 0), **words,
            xycoords=("axes fraction", "data"), ha="right" if place else "left",
            color=COLOURS[name],
        )  # fmt: skip
        drawn.set_url(mark.href if place and mark.href else None)
    if np.isnan(mark.value):
        return
    if not np.isnan(mark.low):
        ends = np.clip([mark.low, mark.high], scale.low, scale.high)
        axis.plot(
            ends, [y, y], color=COLOURS["range"], linewidth=7, solid_capstyle="butt", zorder=2
        )
        for beyond, end, sign in (
            (mark.low < scale.low, scale.low, "<"),
            (mark.high > scale.high, scale.high, ">"),
        ):
            if beyond:
                axis.plot(end, y, sign, color=COLOURS["bar"], markersize=6, clip_on=False, zorder=3)
    if not np.isnan(mark.reference):
        axis.plot(mark.reference, y, "|", color=COLOURS["mark"], markersize=13,
                  markeredgewidth=2.5, zorder=3)  # fmt: skip
    if scale.low <= mark.value <= scale.high:
        axis.plot(mark.value, y, "o", color=COLOURS["bar"], markeredgecolor=COLOURS["paper"],
                  markersize=9, zorder=4, clip_on=False)  # fmt: skip


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _curves(
    curves: Mapping[str, Sequence[tuple[float, float, float, float]]], x: str, y: str, width: int
) -> Any:
    height = 320
    figure = _figure(width, height)
    figure.set_layout_engine("constrained")
    axis = figure.subplots()
    for colour, (name, points) in zip(SERIES * len(curves), curves.items(), strict=False):
        places, values, low, high = np.array(points).T
        axis.fill_between(places, low, high, color=COLOURS[colour], alpha=0.14, linewidth=0)
        axis.plot(places, values, "o-", color=COLOURS[colour], label=name, markersize=5)
    axis.set_xlabel(x, color=COLOURS["soft"])
    axis.set_ylabel(y, color=COLOURS["soft"])
    axis.tick_params(colors=COLOURS["soft"], labelsize=FONT - 1)
    axis.grid(color=COLOURS["line"], linewidth=0.6)
    for side in axis.spines.values():
        side.set_color(COLOURS["line"])
    figure.legend(
        loc="outside upper left", ncols=1 if width == WIDTHS["narrow"] else 4, frameon=False,
        labelcolor=COLOURS["ink"], fontsize=FONT - 1,
    )  # fmt: skip
    return figure
