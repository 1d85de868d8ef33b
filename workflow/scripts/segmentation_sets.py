"""Crop, resize and pack images with their masks, aligned, of every split."""

from pathlib import Path

from meddiff.data.index import read_index
from meddiff.data.preprocessing.packing import pack
from meddiff.workflow.jobs import job

output = snakemake.output
with job(snakemake):
    rows = read_index(snakemake.input.index)
    for array, table in zip(map(Path, output.arrays), map(Path, output.tables), strict=True):
        pack(
            rows[rows["split"] == array.parent.name],
            **snakemake.params.preprocessing,
            masks=array.stem == "masks",
            out_array=array,
            out_table=table,
            workers=snakemake.threads,
        )
