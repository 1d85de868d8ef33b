"""Runs that the page is written from: what they made, and the commands that make it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import Field, TypeAdapter

from meddiff.core.settings import Settings
from meddiff.core.tables import read_csv
from meddiff.reporting.reported import read_yaml

GPU = "make study-gpu"
"""Makes what waits for a GPU."""


class PictureSettings(Settings):
    """A picture of a run that may be shown: of synthetic images, or of real ones by licence."""

    run: str
    path: str
    caption: str


class PageSettings(Settings):
    """`config/page.yaml`: runs of lesions and of hands by column of the page; text and pictures.

    Of several runs in a column the first that has a number fills the cell. Flaws are measured in
    the runs of lesions, and in those of `flaws`. DDPMs of `small` runs train on a CPU. `options`
    are what a command takes besides its profile, by run and by the scale that the table states.
    """

    lesions: dict[str, list[str]] = Field(min_length=1)
    hands: dict[str, list[str]] = Field(min_length=1)
    flaws: list[str] = []
    small: list[str] = []
    options: dict[str, dict[str, str]] = {}
    introduction: str = ""
    pictures: list[PictureSettings] = []
    closing: str = ""


def read_page_settings(path: str | Path) -> PageSettings:
    """Read such a file."""
    return read_yaml(path, TypeAdapter(PageSettings))


@dataclass(frozen=True)
class Run:
    """A run directory `runs/<name>` and its profile of that name.

    Attributes:
        name: of both.
        folder: the run directory, which may be absent.
        archives: SHA-256 of the raw files that its images come from, by path.
        commits: of the project, that made its tables; the first digits of each.
        options: of the commands, by the scale of a table.
        is_small: whether a CPU trains its DDPMs.
    """

    name: str
    folder: Path
    archives: Mapping[str, str] = field(default_factory=dict)
    commits: Sequence[str] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    is_small: bool = False
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

    def stamp(self, path: str) -> Mapping[Any, Any]:
        """Return the first row of a table that states its data and scale; else nothing."""
        # Parts of tables state no scale: that of Table 5.1, which is made of them.
        for name in (path, "results/table_5_1.csv"):
            table = self.table(name)
            if table is not None and "scale" in table and len(table):
                return table.iloc[0].to_dict()
        return {}

    def _options(self, path: str) -> list[str]:
        return self.options.get(self.stamp(path).get("scale", ""), "").split()


def first_with(runs: Sequence[Run], path: str) -> tuple[Run, pd.DataFrame | None]:
    """Return the first run that has a table, and the table; else the first run, and None."""
    for run in runs:
        if (table := run.table(path)) is not None:
            return run, table
    return runs[0], None
