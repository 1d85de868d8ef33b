"""The error for faults that a user can mend, and how errors list names."""

from collections.abc import Sequence
from typing import TypeVar

AFFECTS_RESULTS = False


class MeddiffError(Exception):
    """Bad input or a bad environment: one line with what is wrong, where, and what to do."""


E = TypeVar("E", bound=MeddiffError)


def detached(error: E) -> E:
    """Return an error to keep: without its frames, whose variables would keep a file's pixels."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def first_names(names: Sequence[str], limit: int = 5) -> str:
    """Return the first names and the number of the others, e.g. `a, b and 3 more`."""
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")


def one_line(error: Exception, limit: int | None = None) -> str:
    """Return the text of an error in one line of so many characters at most; else its kind."""
    return " ".join(str(error).split())[:limit] or type(error).__name__


def listing_error(problem: str, names: Sequence[str], remedy: str) -> MeddiffError:
    """Return one error for many faults of a kind, with the first names and their number."""
    return MeddiffError(f"{problem}: {first_names(names)}; {remedy}")
