"""The page: docs/study.md."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from meddiff.reporting.names import name_of
from meddiff.reporting.reported import ReportedResult
from meddiff.reporting.study.cells import SECTIONS, Columns, sections
from meddiff.reporting.study.flaws import Sources, flaw_parts
from meddiff.reporting.study.runs import Run, first_with
from meddiff.reporting.study.text import ends, markdown, number

RUN_COLUMNS = ["run", "data", "scale", "protocol", "seed", "commit", "tables"]


@dataclass(frozen=True)
class Shown:
    """A picture of the page: where it lies as seen from it, and what it shows."""

    file: str
    caption: str


def study_page(
    reported: Sequence[ReportedResult],
    lesions: Columns,
    hands: Columns,
    further: Sequence[Run] = (),
    *,
    introduction: str = "",
    pictures: Iterable[Shown] = (),
    closing: str = "",
) -> str:
    """Return the page in Markdown.

    Args:
        reported: the study's printed numbers.
        lesions: runs of section 5.2 by column, the first that of the study's protocol; one of
            small runs is left out until they have tables.
        hands: the same of section 5.1.
        further: other runs that flaws are measured in.
        introduction: its heading, and how to read it; `closing` is on images and licences.
    """
    of_lesions = [*_all(lesions), *further]
    lesions = {name: each for name, each in lesions.items() if _is_shown(each)}
    runs = [*of_lesions, *_all(hands)]
    shown = [f"![{each.caption}]({each.file})\n\n*{each.caption}*" for each in pictures]
    parts = [
        introduction.strip(),
        "## Runs",
        markdown(map(_run_line, runs), RUN_COLUMNS),
        *_archives(runs),
        *sections(reported, lesions, hands),
        *_verdict(of_lesions),
        *_memorisation(of_lesions),
        "## The ten flaws",
        *flaw_parts(Sources(of_lesions, reported)),
        *_near_duplicates(of_lesions),
        *(["## Pictures", *shown] if shown else []),
        closing.strip(),
        _restoring(runs),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _is_shown(runs: Sequence[Run]) -> bool:
    """Return whether a column is on the page: one of small runs alone once it has tables."""
    return not all(run.is_small for run in runs) or any(map(_tables, runs))


def _all(columns: Columns) -> list[Run]:
    return list({run.name: run for runs in columns.values() for run in runs}.values())


def _tables(run: Run) -> dict[str, pd.DataFrame]:
    names = dict.fromkeys(section.table for section in SECTIONS)
    tables = {name: run.table(f"results/{name}.csv") for name in names}
    return {name: table for name, table in tables.items() if table is not None}


def _run_line(run: Run) -> dict[str, str]:
    tables = _tables(run)
    line = {"run": run.name, "tables": ", ".join(sorted(tables)) or "none yet"}
    line["commit"] = ", ".join(run.commits)
    audits = (run.table(f"results/audit/{name}.csv") for name in ("trainings", "encoding"))
    stamped = [*tables.values(), *audits]
    if (table := next((each for each in stamped if each is not None), None)) is not None:
        line |= {key: str(table[key].iloc[0]) for key in ("data", "scale", "protocol", "seed")}
    return line


def _archives(runs: Sequence[Run]) -> list[str]:
    """Return the raw files behind the images, by content."""
    files = {path: sha256 for run in runs for path, sha256 in run.archives.items()}
    lines = [{"raw file": path, "SHA-256": f"`{sha256}`"} for path, sha256 in files.items()]
    return [markdown(lines, ["raw file", "SHA-256"])] if lines else []


def _verdict(runs: Sequence[Run]) -> list[str]:
    """Return whether synthetic images can replace real ones, and whether they help beside them."""
    path = "results/verdict.csv"
    run, table = first_with(runs, path)
    if table is None:
        return []
    lines = [
        {
            "classifier": name_of(row["classifier"]),
            "trained on": f"{row['arm']} against {row['baseline']}",
            "score": row["metric"] if row["class"] == "all" else f"{row['metric']}, {row['class']}",
            "values": f"{number(row['value'])} against {number(row['baseline_value'])}",
            "difference": number(row["difference"]) + ends(row["ci_low"], row["ci_high"]),
            "outcome": row["outcome"],
        }
        for _, row in table.iterrows()
    ]
    heading = f"On {number(table['n_test'].max())} real test images ([cas.md](cas.md))."
    return _section("Verdict", heading, lines, run, path)


def _memorisation(runs: Sequence[Run]) -> list[str]:
    """Return how close the synthetic images lie to the training images, by pixels."""
    path = "results/memorisation.csv"
    run, table = first_with(runs, path)
    if table is None:
        return []
    lines = [
        {
            "class": row["class"],
            "closer": number(row["closer"]),
            "p": number(row["p_value"]),
            "verdict": row["verdict"],
            "images": f"{number(row['n_synthetic'])} synthetic, {number(row['n_training'])} "
            f"training, {number(row['n_unseen'])} unseen",
        }
        for _, row in table[table["by"] == "pixels"].iterrows()
    ]
    heading = (
        "The chance that a synthetic image lies closer to the training images than an unseen real "
        "image does, by pixels (0.5 without copying; "
        "[metrics.md](metrics.md#resultsmemorisationcsv))."
    )
    return _section("Memorisation", heading, lines, run, path)


def _section(
    title: str, heading: str, lines: Sequence[dict[str, str]], run: Run, path: str
) -> list[str]:
    """Return a part of the page that is one table, with its command; of no rows nothing."""
    if not lines:
        return []
    origin = f"{run.name}: `{run.command(path)}`"
    return [f"## {title}", heading, markdown(lines, list(lines[0])), origin]


def _near_duplicates(runs: Sequence[Run]) -> list[str]:
    """Return the pairs that no list of the publisher names, by id: their licence shows no more."""
    path = "data/images/duplicates.csv"
    run, table = first_with(runs, path)
    if table is None:
        return []
    pairs = table[table["kind"] == "near"]
    lines = [
        {"image": row["first"], "shows the same as": row["second"]} for _, row in pairs.iterrows()
    ]
    heading = (
        f"Pairs of images that show one photograph and stand in no publisher's list: {len(lines)} "
        f"({run.name}: `{run.command(path)}`)."
    )
    listed = [markdown(lines, ["image", "shows the same as"])] if lines else []
    return ["## Near duplicates", heading, *listed]


def _restoring(runs: Sequence[Run]) -> str:
    lines = [run.restoring(f"results/{name}.csv") for run in runs for name in _tables(run)]
    code = "\n".join(["```sh", *lines, "```"]) if lines else "No run is here yet."
    return (
        "## Restore and verify\n\nWhere a run is shared ([sharing.md](sharing.md)), a clone gets "
        f"its tables and proves them, from the raw files on, with\n\n{code}"
    )
