"""`meddiff show`."""

import argparse
from pathlib import Path

from meddiff.core.console import say
from meddiff.core.errors import MeddiffError

HELP = "print a table as a person reads it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("table", type=Path, nargs="+", help="one of results/*.csv")


def run(options: argparse.Namespace, rest: list[str]) -> int:
    """Print the tables."""
    from meddiff.reporting.show import show

    for path in options.table:
        if path.suffix != ".csv" or not path.is_file():
            raise MeddiffError(f"there is no table {path}: name one of results/*.csv")
        say(show(path))
    return 0
