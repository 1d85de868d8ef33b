"""Show the images that the U-Net learns from, with the outlines of their masks."""

from pathlib import Path

from meddiff.core.arrays import load_images
from meddiff.reporting.figures.grids import contact_sheet, outline, save_picture, titled_sheets
from meddiff.workflow.jobs import job

with job(snakemake):
    sheets = {}
    for images, masks in zip(snakemake.input.images, snakemake.input.masks, strict=True):
        shown, lesion = load_images(images)[:36], load_images(masks)[:36]
        title = f"{Path(images).parent.name}, outlined by the mask"
        sheets[title] = contact_sheet(outline(shown, lesion), side=96, columns=12)
    save_picture(titled_sheets(sheets), snakemake.output[0])
