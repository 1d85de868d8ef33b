"""Set the tables of every run beside the study's printed numbers."""

from pathlib import Path

from meddiff.core.tables import read_csv, write_table
from meddiff.reporting.reported import ReportedResult, comparison
from meddiff.workflow.jobs import job

params = snakemake.params
with job(snakemake):
    tables = [(Path(path).stem, "this run", read_csv(path)) for path in snakemake.input]
    tables += [
        (Path(other["path"]).stem, other["run"], read_csv(other["path"])) for other in params.others
    ]
    reported = map(ReportedResult.model_validate, params.reported)
    write_table(comparison(reported, tables), snakemake.output[0], {})
