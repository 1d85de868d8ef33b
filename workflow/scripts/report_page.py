"""Write the page of the run from its finished tables and pictures."""

import json
from pathlib import Path

from meddiff.cas.verdict import QUESTIONS
from meddiff.cas.verdict_text import words_of
from meddiff.core.files import write_text
from meddiff.core.tables import read_csv
from meddiff.reporting.page.run import run_page
from meddiff.reporting.page.sections import Contents
from meddiff.reporting.reported import ReportedResult
from meddiff.workflow.jobs import job

params = snakemake.params
with job(snakemake):
    files = {kind: {} for kind in (".csv", ".png", ".json")}
    for path in map(Path, snakemake.input):
        files[path.suffix][path.relative_to("results").with_suffix("").as_posix()] = path
    tables = {name: read_csv(path) for name, path in files[".csv"].items()}
    lineage = {
        record["path"]: record
        for path in files[".json"].values()
        for record in json.loads(path.read_text())
    }
    contents = Contents(
        tables=tables,
        pictures=files[".png"],
        classes=params.classes,
        questions={name: each.text for name, each in QUESTIONS.items()},
        printed=[ReportedResult.model_validate(row) for row in params.published],
        lineage=lineage,
        **words_of(tables, params.stamp),
    )
    write_text(run_page(contents), snakemake.output[0])
