"""Runs that the page is written from: what they made, and the commands that make it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import yaml
from pydantic import Field, TypeAdapter, ValidationError

from meddiff.core.errors import MeddiffError
from meddiff.core.settings import Settings
from meddiff.core.tables import read_csv

GPU = "make study-gpu"
"""Makes what waits for a GPU."""


class Picture(Settings):
    """A picture of a run that may be shown: of synthetic images, or of real ones by licence."""

    run: str
    path: str
    caption: str


class PageSettings(Settings):
    """`config/page.yaml`: runs of lesions and of hands by column of the page; text and pictures.

    Of several runs in a column the first that has a number fills the cell. Flaws are measured in
    the runs of lesions, and in those of `flaws`. `options` are what a command takes besides its
    profile, by run and by the scale that the table states.
    """

    lesions: dict[str, list[str]] = Field(min_length=1)
    hands: dict[str, list[str]] = Field(min_length=1)
    flaws: list[str] = []
    options: dict[str, dict[str, str]] = {}
    introduction: str = ""
    pictures: list[Picture] = []
    closing: str = ""


def read_page_settings(path: str | Path) -> PageSettings:
    """Read such a file."""
    try:
        content = yaml.safe_load(Path(path).read_text())
        return TypeAdapter(PageSettings).validate_python(content)
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise MeddiffError(f"{path}: {' '.join(str(error).split())}") from error


@dataclass(frozen=True)
class Run:
    """A run directory `runs/<name>` and its profile of that name.

    Attributes:
        name: of both.
        folder: the run directory, which may be absent.
        archives: SHA-256 of the raw files that its images come from, by path.
        options: of the commands, by the scale of a table.
    """

    name: str
    folder: Path
    archives: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    _tables: dict[str, pd.DataFrame | None] = field(default_factory=dict, repr=False)

    def table(self, path: str) -> pd.DataFrame | None:
        """Return a table of the run, None where it is not here."""
        if path not in self._tables:
            file = self.folder / path
            self._tables[path] = read_csv(file) if file.is_file() else None
        return self._tables[path]

    def command(self, path: str) -> str:
        """Return the command that makes a file of the run, or made the one that is here."""
        options = self._options(path)
        return " ".join(["snakemake", f"--profile profiles/{self.name}", *options, path])

    def restoring(self, path: str) -> str:
        """Return the command that fetches a shared file of the run and proves it."""
        # A word after the options would be one of them.
        words = [word for word in self._options(path) if word != "--"]
        shared = " ".join([f"runs/{self.name}/{path}", *words])
        return f"meddiff restore {shared} && meddiff verify {shared}"

    def _options(self, path: str) -> list[str]:
        # Parts of tables state no scale: that of Table 5.1, which is made of them.
        tables = (self.table(name) for name in (path, "results/table_5_1.csv"))
        stated = (
            table["scale"].iloc[0]
            for table in tables
            if table is not None and "scale" in table and len(table)
        )
        return self.options.get(next(stated, ""), "").split()


def first_with(runs: Sequence[Run], path: str) -> tuple[Run, pd.DataFrame | None]:
    """Return the first run that has a table, and the table; else the first run, and None."""
    for run in runs:
        if (table := run.table(path)) is not None:
            return run, table
    return runs[0], None
