"""`meddiff study`."""

import argparse
import shutil
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meddiff.core.console import say
from meddiff.core.errors import MeddiffError

if TYPE_CHECKING:
    from meddiff.workflow.provenance.record import Record

ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    "--page": {
        "type": Path,
        "default": Path("docs/study.md"),
        "metavar": "FILE",
        "help": "the page to write (docs/study.md)",
    },
    "--runs": {
        "type": Path,
        "default": Path("runs"),
        "metavar": "FOLDER",
        "help": "folder of the run directories of config/page.yaml (runs)",
    },
}
RECORDS = ".snakemake/meddiff/records", "provenance"


def run(options: argparse.Namespace, rest: list[str]) -> int:
    """Write the page, and copy the pictures that it shows beside it."""
    from meddiff.core.files import write_text
    from meddiff.reporting.reported import read_reported
    from meddiff.reporting.study.page import Shown, study_page
    from meddiff.reporting.study.runs import Run, read_page_settings

    root = Path.cwd()
    if not (root / "config/page.yaml").is_file():
        raise MeddiffError("config/page.yaml is not here: run this in the project's root")
    settings = read_page_settings(root / "config/page.yaml")
    columns = settings.lesions, settings.hands
    runs = {}
    for name in chain(*(names for each in columns for names in each.values()), settings.flaws):
        folder = options.runs / name
        options_of_run = settings.options.get(name, {})
        is_small = name in settings.small
        runs[name] = Run(
            name, folder, archives_of(folder), commits_of(folder), options_of_run, is_small
        )
    lesions, hands = (
        {column: [runs[name] for name in names] for column, names in each.items()}
        for each in columns
    )
    pictures = []
    for picture in settings.pictures:
        source = options.runs / picture.run / picture.path
        if source.is_file():
            target = options.page.parent / f"images/study_{picture.run}_{source.name}"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            pictures.append(Shown(f"images/{target.name}", picture.caption))
    page = study_page(
        read_reported(root / "config/reported.yaml"),
        lesions,
        hands,
        [runs[name] for name in settings.flaws],
        introduction=settings.introduction,
        pictures=pictures,
        closing=settings.closing,
    )
    write_text(page, options.page)
    say(f"wrote {options.page} from {', '.join(sorted(runs))}")
    return 0


def archives_of(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of the raw files that a run's images come from, by path."""
    tables = "data/images/index.csv", "data/segmentation/index.csv"
    inputs = chain(*(each.inputs.items() for each in _records(folder, tables)))
    return {path: sha256 for path, sha256 in inputs if path.startswith("data/raw/")}


def commits_of(folder: Path) -> list[str]:
    """Return the project's commits that made a run's tables, in order of time."""
    tables = [path.relative_to(folder).as_posix() for path in folder.glob("results/**/*.csv")]
    records = sorted(_records(folder, tables), key=lambda each: each.finished)
    return list(dict.fromkeys(_shortened(each.commit or "unknown") for each in records))


def _shortened(commit: str) -> str:
    name, dash, dirty = commit.partition("-")
    return f"{name[:7]}{dash}{dirty}"


def _records(folder: Path, paths: Iterable[str]) -> "Iterator[Record]":
    """Yield the records of a run's files, of those that have one."""
    from meddiff.workflow.provenance.store import read_record

    for path in paths:
        files = (folder / f"{place}/{path}.json" for place in RECORDS)
        if record := next((file for file in files if file.is_file()), None):
            yield read_record(record)
