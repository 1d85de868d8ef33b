"""Show real and synthetic images of every class side by side."""

from meddiff.core.arrays import load_by_class
from meddiff.reporting.figures.grids import contact_sheet, save_picture, titled_sheets
from meddiff.workflow.jobs import job

with job(snakemake):
    classes = snakemake.params.classes
    real = load_by_class(snakemake.input.real, classes)
    synthetic = load_by_class(snakemake.input.synthetic, classes)
    sheets = {
        f"{name}, {kind}": contact_sheet(images[name][:36])
        for name in classes
        for kind, images in (("real (training set)", real), ("synthetic", synthetic))
    }
    save_picture(titled_sheets(sheets), snakemake.output[0])
