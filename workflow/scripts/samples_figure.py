"""Show the first images of an image set, not chosen."""

from meddiff.core.arrays import load_images
from meddiff.reporting.figures.grids import contact_sheet, save_picture
from meddiff.workflow.jobs import job

with job(snakemake):
    save_picture(contact_sheet(load_images(snakemake.input[0])[:60]), snakemake.output[0])
