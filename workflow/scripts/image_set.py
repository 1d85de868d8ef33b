"""Crop, resize and pack the images of one class and split."""

from pathlib import Path

from meddiff.data.index import read_index
from meddiff.data.preprocessing.packing import pack
from meddiff.workflow.jobs import job

wildcards = snakemake.wildcards
with job(snakemake):
    rows = read_index(snakemake.input.split)
    wanted = (rows["split"] == wildcards.split) & (rows["label"] == wildcards.cls)
    pack(
        rows[wanted & rows["selected"]].sort_values("rank"),
        **snakemake.params.preprocessing,
        out_array=Path(snakemake.output.array),
        out_table=Path(snakemake.output.table),
        workers=snakemake.threads,
    )
