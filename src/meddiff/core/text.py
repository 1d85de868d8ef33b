"""Numbers as text."""

import pandas as pd


def with_interval(
    value: float, low: float, high: float, form: str = ".3f", ends: str | None = None
) -> str:
    """Return a number with its interval if it has one, `0.812 [0.790, 0.834]`.

    Args:
        low: lower end, NaN without an interval.
        form: format of the number, and of the ends unless `ends` is another one for them.
    """
    form_of_ends = ends or form
    interval = "" if pd.isna(low) else f" [{low:{form_of_ends}}, {high:{form_of_ends}}]"
    return f"{value:{form}}{interval}"
