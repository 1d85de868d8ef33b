"""Crop, resize and pack images with their masks, aligned."""

from pathlib import Path

from meddiff.data.index import read_index
from meddiff.data.preprocessing.packing import pack
from meddiff.workflow.jobs import job

output, params = snakemake.output, snakemake.params
with job(snakemake):
    index = read_index(snakemake.input.index)
    arrays = (output.images, output.masks)
    for kind, array, table in zip((False, True), arrays, output.tables, strict=True):
        pack(
            index[index["split"] == snakemake.wildcards.split],
            **params.preprocessing,
            masks=kind,
            out_array=Path(array),
            out_table=Path(table),
            workers=snakemake.threads,
        )
