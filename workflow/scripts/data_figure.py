"""Show the images of a class as published and in every image set."""

from pathlib import Path

from meddiff.core.arrays import load_images
from meddiff.data.index import read_index
from meddiff.reporting.figures.grids import contact_sheet, save_picture, titled_sheets
from meddiff.reporting.figures.raw import published_sheet
from meddiff.workflow.jobs import job

with job(snakemake):
    rows = read_index(snakemake.input.split)
    wanted = rows[(rows["label"] == snakemake.wildcards.cls) & rows["selected"]]
    sheets = {"as published": published_sheet(wanted.sort_values("rank"))}
    for path in snakemake.input.sets:
        images = load_images(path)
        title = f"{Path(path).parent.name}: {len(images)} images of {images.shape[1]} px"
        sheets[title] = contact_sheet(images[:36])
    save_picture(titled_sheets(sheets), snakemake.output[0])
