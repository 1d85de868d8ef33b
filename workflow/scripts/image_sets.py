"""Crop, resize and pack the images of every split and class."""

from pathlib import Path

from meddiff.data.index import read_index
from meddiff.data.preprocessing.files import Preprocessing
from meddiff.data.preprocessing.packing import pack_images
from meddiff.workflow.jobs import job

output = snakemake.output
with job(snakemake):
    preprocessing = Preprocessing(**snakemake.params.preprocessing)
    rows = read_index(snakemake.input.split)
    selected = rows[rows["selected"]].sort_values("rank")
    for array, table in zip(map(Path, output.arrays), map(Path, output.tables), strict=True):
        wanted = (selected["split"] == array.parent.name) & (selected["label"] == array.stem)
        pack_images(selected[wanted], preprocessing, array, table, workers=snakemake.threads)
