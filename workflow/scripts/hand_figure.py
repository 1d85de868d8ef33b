"""Show the hand radiographs of section 5.1 after preprocessing."""

from meddiff.arrays import load_images
from meddiff.figures.grids import contact_sheet, save_picture
from meddiff.jobs import job

with job(snakemake.log[0]):
    save_picture(contact_sheet(load_images(snakemake.input[0])[:48]), snakemake.output[0])
