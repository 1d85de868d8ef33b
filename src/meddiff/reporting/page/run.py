"""The page of a run: the answer first, then what it rests on (`results/report.html`)."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from PIL import Image

from meddiff.reporting.figures.grids import MARGIN
from meddiff.reporting.names import name_of
from meddiff.reporting.page.checks import STAMP, audit_section, copies_section, study_section
from meddiff.reporting.page.further import further_section
from meddiff.reporting.page.html import Table, anchor, embedded, render, rows_of
from meddiff.reporting.page.quality import extractors_section, matrices_section, near_section
from meddiff.reporting.page.sections import Contents, Part, Section, Strip, pictures_of
from meddiff.reporting.page.taught import answer_section, forest, how_to_read, taught_section

FRAME = 64 + MARGIN
"""Width of one moment in the picture of a training's previews, px."""
ROWS = ("verdict", "table_5_1", "table_5_2", "table_5_3", "cas_hog_svm", "dose_response",
        "memorisation", "audit/encoding", "generators", "reader_study")  # fmt: skip
"""Tables whose rows the numbers of the page link to."""
SIDE_BY_SIDE = {
    "figures/image_sets": (
        "The first real training images and the first synthetic images of each class, not chosen",
        "Grids of real training images and of synthetic images, class by class",
    )
}
COMMANDS = {
    "verdict": ("what a classifier learns from the images", "results/verdict.csv"),
    "table_5_3": ("its accuracy on every training set",
                  "results/table_5_3.csv results/cas_hog_svm.csv"),
    "dose_response": ("how many beside real ones", "results/dose_response.csv"),
    "memorisation": ("copies of training images", "results/memorisation.csv"),
    "table_5_1": ("the quality of the extractors", "results/table_5_1.csv"),
    "audit": ("the audit of the data", "audit"),
    "matrices": ("every image set against every other, and everything else", ""),
}  # fmt: skip
"""What may be missing, by table or folder: in words, and the targets that make it."""
PAGE = "results/report.html"
OF_CLASSIFIERS = ("verdict", "dose_response", "table_5_1", "table_5_3")


def run_page(contents: Contents) -> str:
    """Return the page as HTML; parts that the run has not made are left out and named."""
    tables = contents.tables
    builders = (answer_section, near_section, _looks_section, taught_section, further_section,
                copies_section, matrices_section, extractors_section, audit_section,
                study_section)  # fmt: skip
    stamp, verdict = _stamp(contents), tables.get("verdict", pd.DataFrame())
    page = {
        "title": f"Synthetic images, {stamp.get('data', 'a run')}, scale {stamp.get('scale', '?')}",
        "answers": contents.answers,
        "no_answer": _no_answer(contents),
        "stamp": ", ".join(f"{name} {value}" for name, value in stamp.items()),
        "notices": _notices(stamp),
        "forest": None if verdict.empty else forest(verdict, contents.questions),
        "reading": "" if verdict.empty else how_to_read(verdict),
        "sections": [section for build in builders if (section := build(contents))],
        "made": _made(contents.lineage),
        "made_tables": _made_tables(contents.lineage),
        "absent": _absent(contents),
        "rows": [
            {"id": anchor(name, -2), "path": f"results/{name}.csv",
             "table": rows_of(tables[name], name, [*STAMP, "source_file"])}
            for name in ROWS
            if name in tables
        ],
    }  # fmt: skip
    return render("run.html.j2", {"page": page})


def _stamp(contents: Contents) -> dict[str, str]:
    tables = contents.tables
    table = tables.get("table_5_2", next(iter(tables.values()), pd.DataFrame()))
    return {name: str(table[name].iloc[0]) for name in STAMP if name in table and len(table)}


def _notices(stamp: Mapping[str, str]) -> list[str]:
    lines = []
    if stamp.get("scale") in ("demo", "smoke"):
        lines.append(
            f"Scale {stamp['scale']}: nets are small and trained for minutes. The numbers show "
            "that everything works, no more."
        )
    if stamp.get("protocol") == "as_published":
        lines.append(
            "Protocol as published: the DDPMs have learnt from the test images, so that no "
            "classifier can give an answer here."
        )
    return lines


def _no_answer(contents: Contents) -> str:
    """Return what replaces the answer where no classifier is trained: the score of KID."""
    if _real_only(contents):
        return "Real images alone: nothing synthetic is judged here."
    untrained = "what they teach a classifier is not measured yet."
    if len(contents.classes) == 1:
        untrained = "one class, so no classifier can be trained."
    table = contents.tables.get("table_5_2", pd.DataFrame(columns=["metric", "score"]))
    scored = table[table["metric"].eq("kid") & table["score"].notna()]
    scored = scored[scored["class"].isin(contents.classes)] if len(scored) else scored
    if scored.empty:
        return untrained[0].upper() + untrained[1:]
    lead = str(scored["extractor"].value_counts(sort=False).idxmax())
    rows = scored[scored["extractor"] == lead].sort_values("score", kind="stable")
    words = ("", "") if len(rows) < 3 else (" (lowest)", " (highest)")
    ends = zip(rows.iloc[[0, -1]].to_dict("records")[-len(rows) :], words, strict=False)
    numbers = [f"{row['class']} {row['score']:.2f}{word}" for row, word in ends]
    return (
        f"Between noise (0) and unseen real images (1), by KID of {name_of(lead)}: "
        f"{', '.join(numbers)}; {untrained}"
    )


def _real_only(contents: Contents) -> bool:
    table = contents.tables.get("table_5_2")
    return table is not None and "synthetic" not in set(table["image_set"])


def _looks_section(contents: Contents) -> Section | None:
    checks = contents.tables.get("sample_checks")
    parts = [
        Part("Side by side", pictures=pictures_of(contents, SIDE_BY_SIDE)),
        Part(
            "Over the training",
            "The same noise at every validation: a row shows what the training made of one image.",
            pictures=[strip for name in contents.classes for strip in _previews(contents, name)],
            layout="pairs",
        ),
        Part(
            "Loss",
            "Of training and of unseen images, with the learning rate.",
            pictures=_of_ddpms(contents, "curves", "loss over the training"),
            layout="pairs",
        ),
        Part(
            "Out of noise",
            "Images at evenly spaced steps of the sampler.",
            pictures=_of_ddpms(contents, "denoising", "images at steps from noise to image"),
            layout="pairs",
        ),
        Part(
            "Samples that went wrong",
            "Black: less than half as bright as hardly any training image; flat: less than half as "
            "varied; colour: further from theirs than 99.9 %.",
            tables=[] if checks is None else [
                rows_of(checks, "sample_checks", STAMP, spaced=True)
            ],
        ),
    ]  # fmt: skip
    parts = [part for part in parts if part.pictures or part.tables]
    return Section("looks", "What do they look like?", "Images", parts) if parts else None


def _of_ddpms(contents: Contents, figure: str, caption: str) -> list[Strip]:
    shown = {f"figures/ddpm/{name}_{figure}": (f"{name}: {caption}", f"DDPM of {name}: {caption}")
             for name in contents.classes}  # fmt: skip
    return pictures_of(contents, shown)


def _previews(contents: Contents, name: str) -> list[Strip]:
    path = contents.pictures.get(f"figures/ddpm/{name}_previews")
    if path is None:
        return []
    with Image.open(path) as image:
        frames = max(1, image.width // FRAME)
    shown = embedded(path, f"Images of {name} drawn while the DDPM was trained", name)
    return [Strip(shown, frames)]


def _absent(contents: Contents) -> list[str]:
    """Return a line for each part that the run has not made, with the command that makes it."""
    lines, never = [], set(OF_CLASSIFIERS if len(contents.classes) == 1 else ())
    if _real_only(contents):
        never |= {"verdict", "dose_response"}
    if _real_only(contents) or _stamp(contents).get("protocol") == "as_published":
        never.add("memorisation")  # no images that no DDPM has learnt from
    for name, (words, targets) in COMMANDS.items():
        folder = any(each.startswith(f"{name}/") for each in contents.tables)
        if name in contents.tables or folder or name in never:
            continue
        command = " ".join(["snakemake --cores all", targets, PAGE * bool(targets)]).strip()
        lines.append(f"{words}: `{command}`, with the options of this run")
    if len(contents.classes) == 1:
        lines.append("classifiers, Tables 5.1 and 5.3: a run of one class has none")
    return [f"{line[0].upper()}{line[1:]}." for line in lines]


def _made(lineage: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return who made the tables, when, of which code, with what, on which machines."""
    records = [record for record in lineage.values() if record.get("rule")]
    if not records:
        return {}
    machines = {
        f"{machine['processor']}, {machine['device']}, {machine['system']}, Python "
        f"{machine['python']}": None
        for record in records
        if (machine := record.get("machine"))
    }
    packages = {name: version for record in records for name, version in record["packages"].items()}
    days = sorted(time for record in records for time in (record["started"], record["finished"]))
    return {
        "who": _distinct(record["author"] for record in records),
        "when": f"{days[0]} to {days[-1]}",
        "commit": _distinct(f"`{record.get('commit') or 'none'}`" for record in records),
        "on": "; ".join(machines),
        "with": ", ".join(f"{name} {version}" for name, version in packages.items()),
        "proof": "`meddiff verify results/table_5_2.csv` checks every file behind the table",
    }


def _distinct(values: Any) -> str:
    return ", ".join(dict.fromkeys(values))


def _made_tables(lineage: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    """Return the tables' records, and the raw files behind them by content."""
    tables = [
        [path, record["rule"], record["finished"], record["author"], (record["commit"] or "")[:10],
         record["sha256"][:16]]
        for path, record in lineage.items()
        if path.startswith("results/")
    ]  # fmt: skip
    raw = [
        [path, f"{record['size']:,}", record["sha256"]]
        for path, record in lineage.items()
        if path.startswith("data/raw/")
    ]
    shown = []
    if tables:
        head = ["table", "rule", "finished", "by", "commit", "SHA-256"]
        shown.append(Table(head, tables, "Tables", kind="numbers"))
    if raw:
        shown.append(Table(["raw file", "bytes", "SHA-256"], raw, "Raw files", kind="numbers"))
    return shown
