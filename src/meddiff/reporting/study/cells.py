"""Every number that the study printed, beside the same cell of runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from meddiff.reporting.reported import ReportedResult, comparison
from meddiff.reporting.study.runs import GPU, Run
from meddiff.reporting.study.text import deviating, ends, markdown, number, title_of

Columns = Mapping[str, Sequence[Run]]
"""Runs by the column that they fill."""


@dataclass(frozen=True)
class PrintedTable:
    """A table of the study: its heading, its name among ours, and whether it is of hands."""

    heading: str
    table: str
    hands: bool = False


SECTIONS = (
    PrintedTable("Section 5.1: hands", "table_5_2", hands=True),
    PrintedTable("Table 5.1: extractors on their test images", "table_5_1"),
    PrintedTable("Table 5.2: quality of the synthetic lesions", "table_5_2"),
    PrintedTable("Table 5.3: SkinLesNet trained on each arm", "table_5_3"),
    PrintedTable("HOG and SVM (section 5.3.3)", "cas_hog_svm"),
)


def sections(reported: Sequence[ReportedResult], lesions: Columns, hands: Columns) -> list[str]:
    """Return the page's parts, one per table of the study."""
    parts = []
    for section in SECTIONS:
        rows = [
            row
            for row in reported
            if row.table == section.table and (row.row.get("class") == "hand") == section.hands
        ]
        columns = hands if section.hands else lesions
        notes: dict[str, None] = {}
        lines, used = _lines(rows, columns, notes)
        parts += [f"## {section.heading}", markdown(lines, ["cell", "printed", *columns])]
        parts += [f"\\* {note}" for note in notes]
        # Of each column the runs that fill it, or else the one that would.
        listed = {run.name: run for run in (*used, *(runs[0] for runs in columns.values()))}
        path = _path(section.table)
        parts.append("\n".join(f"- {run.name}: `{run.command(path)}`" for run in listed.values()))
    return parts


def needs_gpu(row: ReportedResult) -> bool:
    """Return whether a cell is of DDPMs of the study's size or of ResNet50: days on two cores."""
    cell = row.row
    synthetic = cell.get("image_set") == "synthetic" or cell.get("arm") in ("synthetic", "mixed")
    return synthetic or cell.get("extractor") == "resnet50"


def _path(table: str) -> str:
    return f"results/{table}.csv"


def _lines(
    rows: Sequence[ReportedResult], columns: Columns, notes: dict[str, None]
) -> tuple[list[dict[str, str]], list[Run]]:
    """Return a line per printed number, and the runs that fill cells; add what they remark."""
    lines: list[dict[str, str]] = []
    used: dict[str, Run] = {}
    for row in rows:
        for name, printed in row.values.items():
            if name == "std":
                continue  # stands beside its mean
            parts = [*row.row.values(), *([name] if name != "value" else [])]
            line = {"cell": title_of(", ".join(parts))}
            line["printed"] = " ± ".join(map(str, filter(None, [printed, row.values.get("std")])))
            for column, runs in columns.items():
                line[column], run = _filled(row, name, runs, notes)
                used |= {run.name: run} if run else {}
            lines.append(line)
    return lines, list(used.values())


def _filled(
    row: ReportedResult, name: str, runs: Sequence[Run], notes: dict[str, None]
) -> tuple[str, Run | None]:
    """Return a cell's text, and the run that it comes from."""
    open_cell: tuple[str, Run | None] = "", None
    for run in runs:
        table = run.table(_path(row.table))
        if table is None:
            continue
        cells = comparison([row], [(row.table, run.name, table)]).set_index("column")
        if number(cells.loc[name, "value"]) != "-":
            return _text(cells, name, run, notes), run
        if not open_cell[1] and (limits := _limits(cells, name)):
            open_cell = f"{limits} ({run.name})", run
    large = next((run for run in runs if not run.is_small), None)
    if needs_gpu(row) and large:
        return f"waits for a GPU: `{GPU} STUDY={large.name}`{open_cell[0]}", open_cell[1]
    return "not run", None


def _limits(cells: pd.DataFrame, name: str) -> str:
    """Return floor and ceiling of a distance, those that there are."""
    texts = [f"{end} {number(cells.loc[name, end])}" for end in ("floor", "ceiling")
             if number(cells.loc[name, end]) != "-"]  # fmt: skip
    return f"; {', '.join(texts)}" if texts else ""


def _text(cells: pd.DataFrame, name: str, run: Run, notes: dict[str, None]) -> str:
    cell = cells.loc[name]
    std = cells.loc["std", "value"] if name == "value" and "std" in cells.index else None
    text = (
        deviating(cell["value"], std) + ends(cell["ci_low"], cell["ci_high"]) + _limits(cells, name)
    )
    # Images of a training stand in its table: here the number that a score is of.
    keys = ["n_test"] if number(cell["n_test"]) != "-" else ["n_synthetic", "n_real"]
    words = {"n_test": "n", "n_synthetic": "synthetic", "n_real": "real"}
    sizes = [
        f"{words[key]} {number(cell[key])}" for key in keys if pd.notna(cell[key]) and cell[key]
    ]
    text += f" ({', '.join(sizes)}; {run.name})"
    if (note := number(cell["note"])) == "-":
        return text
    notes[f"{run.name}: {note}"] = None
    return f"{text} \\*"
