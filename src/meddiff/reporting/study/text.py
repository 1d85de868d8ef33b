"""Numbers, names and tables as the page writes them."""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from meddiff.reporting.names import name_of

NAMELESS = ("", "all", "hand")
"""Words of cells that go without saying."""


def title_of(cell: str) -> str:
    """Return a cell's name for people: `malignant, synthetic, fid, unet` as words."""
    return ", ".join(name_of(word) for word in cell.split(", ") if word not in NAMELESS)


def number(value: object) -> str:
    """Return a number in three to four digits, `-` where there is none; text as it stands."""
    if isinstance(value, str):
        return value
    if value is None or pd.isna(value):  # type: ignore[call-overload]
        return "-"
    amount = float(value)  # type: ignore[arg-type]
    if amount == round(amount) and abs(amount) >= 1:
        return f"{amount:,.0f}"
    return f"{amount:,.0f}" if abs(amount) >= 1000 else f"{amount:.3g}"


def deviating(value: object, std: object = None) -> str:
    """Return a number with the standard deviation behind it, if it has one."""
    return number(value) + ("" if number(std) == "-" else f" ± {number(std)}")


def ends(low: object, high: object) -> str:
    """Return the ends of an interval as ` [low, high]`; nothing where there are none."""
    texts = number(low), number(high)
    return "" if "-" in texts else f" [{', '.join(texts)}]"


def markdown(rows: Iterable[Mapping[str, str]], columns: Sequence[str]) -> str:
    """Return a table in Markdown."""
    lines = [columns, ["---"] * len(columns)]
    lines += [[row.get(column, "") for column in columns] for row in rows]
    return "\n".join(f"| {' | '.join(_cell(text) for text in line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
