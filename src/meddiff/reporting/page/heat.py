"""Heat maps as tables: their numbers are text, and can be read without colours."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from meddiff.core.text import with_interval
from meddiff.reporting.figures.matrices import colour_scale
from meddiff.reporting.names import name_of
from meddiff.reporting.page.html import Cell, Table, anchor

KEYS = [["image_set_a", "class_a"], ["image_set_b", "class_b"]]


def matrix_table(matrix: pd.DataFrame, name: str) -> Table:
    """Return a matrix of image sets; value, interval and sets of a cell show on hover.

    Args:
        matrix: columns image_set_a, class_a, image_set_b, class_b, value, ci_low, ci_high.
        name: of the measure, `fid_unet`.
    """
    order = list(matrix[KEYS[0]].drop_duplicates().itertuples(index=False, name=None))
    by_pair = {
        (tuple(row[key] for key in KEYS[0]), tuple(row[key] for key in KEYS[1])): row
        for row in matrix.to_dict("records")
    }
    square = np.array(
        [[by_pair[one, other]["value"] if (one, other) in by_pair else np.nan for other in order]
         for one in order], float,
    )  # fmt: skip
    colours = _colours(square, "viridis", colour_scale(square, logarithmic=name.startswith("fid")))
    rows: list[list[Cell | str]] = []
    for place, one in enumerate(order):
        cells = [
            Cell(_short(square[place, column]), title=_hover(name, by_pair.get((one, other))),
                 style=colours[place][column])
            for column, other in enumerate(order)
        ]  # fmt: skip
        rows.append([" ".join(one), *cells])
    return Table(["", *(" ".join(each) for each in order)], rows, title_of(name), kind="heat")


def dose_table(doses: pd.DataFrame, name: str) -> Table:
    """Return what synthetic images add to the accuracy, by part of the real images and ratio."""
    cells = doses[doses["metric"].eq("accuracy") & doses["ratio"].gt(0)]
    fractions, ratios = (sorted(cells[key].unique()) for key in ("fraction", "ratio"))
    places = {key: place for place, key in zip(
        cells.index, cells[["fraction", "ratio"]].itertuples(index=False, name=None), strict=True
    )}  # fmt: skip
    square = np.array([[cells["difference"][places[one, other]] if (one, other) in places else
                        np.nan for other in ratios] for one in fractions], float)  # fmt: skip
    reach = max(float(np.nanmax(np.abs(square), initial=0.0)), 0.01)
    colours = _colours(square, "RdBu", colour_scale(np.array([-reach, reach])))
    rows: list[list[Cell | str]] = []
    for place, fraction in enumerate(fractions):
        line: list[Cell | str] = [f"{fraction:.0%} of real"]
        for column, ratio in enumerate(ratios):
            where = places.get((fraction, ratio))
            row = {} if where is None else cells.loc[where].to_dict()
            line.append(_dose(row, where, name, colours[place][column]))
        rows.append(line)
    head = ["", *(f"{ratio:g} synthetic per real" for ratio in ratios)]
    return Table(head, rows, "Accuracy gained over the same real images alone", kind="heat")


def _dose(row: dict[Any, Any], place: Any, name: str, style: str) -> Cell:
    if place is None or pd.isna(row["difference"]):
        return Cell("too few", title=str(row.get("note", "")))
    gain, low, high = (row[f"difference{end}"] for end in ("", "_ci_low", "_ci_high"))
    sure = "; interval without 0" if low > 0 or high < 0 else ""
    hover = f"{with_interval(gain, low, high, '+.3f')}{sure}"
    return Cell(f"{gain:+.3f}", f"#{anchor(name, place)}", hover, style)


def title_of(name: str) -> str:
    """Return the name of a measure in words: `fid_unet` as FID U-Net."""
    for metric in ("ms_ssim", "ssim", "fid", "kid"):
        if name.startswith(metric):
            return f"{name_of(metric)} {name_of(name[len(metric) + 1 :])}".strip()
    return name_of(name)


def _hover(name: str, row: dict[Any, Any] | None) -> str:
    if row is None:
        return ""
    value = with_interval(row["value"], row.get("ci_low", np.nan), row.get("ci_high", np.nan),
                          ".6g", ".4g")  # fmt: skip
    sets = " and ".join(f"{row[f'image_set_{end}']} {row[f'class_{end}']}" for end in "ab")
    return f"{title_of(name)} of {sets}: {value}"


def _short(value: float) -> str:
    if np.isnan(value):
        return ""
    return f"{value:.0e}" if 0 < abs(value) < 1e-3 else f"{value:.3g}"


def _colours(square: np.ndarray, name: str, norm: Any) -> Sequence[Sequence[str]]:
    """Return styles of cells: a colour of the map, and black or white, whichever is read better."""
    from matplotlib import colormaps

    shades = colormaps[name](norm(np.nan_to_num(square)))[..., :3]
    linear = np.where(shades <= 0.04045, shades / 12.92, ((shades + 0.055) / 1.055) ** 2.4)
    bright = linear @ np.array([0.2126, 0.7152, 0.0722]) > 0.179  # W3C, WCAG 2.2: contrast ratio
    return [
        ["" if np.isnan(value) else
         f"background:#{''.join(f'{round(255 * part):02x}' for part in shade)};"
         f"color:{'#000' if light else '#fff'}"
         for value, shade, light in zip(*line, strict=True)]
        for line in zip(square, shades, bright, strict=True)
    ]  # fmt: skip
