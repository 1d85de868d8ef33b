"""Write Table 5.1 and its record."""

from pathlib import Path

import pandas as pd

from meddiff.jobs import job
from meddiff.provenance import write_record
from meddiff.tables import table_5_1, write_table

files, params = snakemake.input, snakemake.params
with job(snakemake.log[0]):
    predictions = dict(zip(params.names, map(pd.read_csv, files.classifiers), strict=True))
    segmentation = pd.read_csv(files.segmentation) if files.segmentation else None
    notes = {"resnet50": Path(files.weights).read_text().strip(), **params.notes}
    table = table_5_1(predictions, segmentation, params.classes, notes)
    write_table(table, snakemake.output.table, params.stamp)
    write_record(
        snakemake.output.record,
        snakemake.output.table,
        inputs=list(files),
        config=params.config,
        root=snakemake.scriptdir + "/../..",
    )
