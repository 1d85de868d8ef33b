"""Write Table 5.2 and its record."""

from pathlib import Path

import pandas as pd

from meddiff.jobs import job
from meddiff.provenance import write_record
from meddiff.tables import table_5_2, write_table

files, params = snakemake.input, snakemake.params
with job(snakemake.log[0]):
    parts = [pd.read_csv(path) for path in [*files.similarity, *files.fid]]
    notes = {"resnet50": Path(files.weights).read_text().strip(), **params.notes}
    write_table(table_5_2(parts, params.reference, notes), snakemake.output.table, params.stamp)
    write_record(
        snakemake.output.record,
        snakemake.output.table,
        inputs=list(files),
        config=params.config,
        root=snakemake.scriptdir + "/../..",
    )
