"""Show the images of every class as published and in every image set."""

from pathlib import Path

from meddiff.core.arrays import load_images
from meddiff.data.index import read_index
from meddiff.reporting.figures.grids import contact_sheet, save_picture, titled_sheets
from meddiff.reporting.figures.raw import published_sheet
from meddiff.workflow.jobs import job

with job(snakemake):
    rows = read_index(snakemake.input.split)
    for name, picture in zip(snakemake.params.classes, snakemake.output, strict=True):
        wanted = rows[(rows["label"] == name) & rows["selected"]]
        sheets = {"as published": published_sheet(wanted.sort_values("rank"))}
        for path in (path for path in map(Path, snakemake.input.sets) if path.stem == name):
            images = load_images(path)
            title = f"{path.parent.name}: {len(images)} images of {images.shape[1]} px"
            sheets[title] = contact_sheet(images[:36])
        save_picture(titled_sheets(sheets), picture)
