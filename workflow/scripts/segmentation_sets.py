"""Crop, resize and pack images with their masks, aligned, of every split."""

from pathlib import Path

from meddiff.data.index import read_index
from meddiff.data.preprocessing.files import Preprocessing
from meddiff.data.preprocessing.packing import pack_images
from meddiff.workflow.jobs import job

output = snakemake.output
with job(snakemake):
    preprocessing = Preprocessing(**snakemake.params.preprocessing)
    rows = read_index(snakemake.input.index)
    for array, table in zip(map(Path, output.arrays), map(Path, output.tables), strict=True):
        pack_images(
            rows[rows["split"] == array.parent.name],
            preprocessing,
            array,
            table,
            masks=array.stem == "masks",
            workers=snakemake.threads,
        )
