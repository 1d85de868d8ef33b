"""Write Table 5.3, and its numbers as metrics."""

from meddiff.jobs import job
from meddiff.tables import read_part, table_5_3, write_metrics, write_table

files, params = snakemake.input, snakemake.params
with job(snakemake):
    runs = [
        (arm, repetition, read_part(path))
        for (arm, repetition), path in zip(params.runs, files, strict=True)
    ]
    table = table_5_3(runs, params.classes)
    write_table(table, snakemake.output.table, params.stamp)
    write_metrics(table, snakemake.output.metrics)
