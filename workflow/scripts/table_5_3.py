"""Write Table 5.3 and its record."""

import pandas as pd

from meddiff.jobs import job
from meddiff.provenance import write_record
from meddiff.tables import table_5_3, write_table

files, params = snakemake.input, snakemake.params
with job(snakemake.log[0]):
    runs = [
        (arm, repetition, pd.read_csv(path))
        for (arm, repetition), path in zip(params.runs, files, strict=True)
    ]
    write_table(table_5_3(runs, params.classes), snakemake.output.table, params.stamp)
    write_record(
        snakemake.output.record,
        snakemake.output.table,
        inputs=list(files),
        config=params.config,
        root=snakemake.scriptdir + "/../..",
    )
