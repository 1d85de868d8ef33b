"""Count black, flat and colour-shifted samples of every class; show some beside real images."""

from meddiff.core.arrays import load_by_class
from meddiff.core.tables import write_table
from meddiff.diffusion.sampling.checks import faults_table
from meddiff.reporting.figures.grids import contact_sheet, save_picture, titled_sheets
from meddiff.workflow.jobs import job

files, params, output = snakemake.input, snakemake.params, snakemake.output
with job(snakemake):
    samples = load_by_class(files.samples, params.classes)
    training = load_by_class(files.training, params.classes)
    write_table(faults_table(samples, training), output.table, params.stamp)
    sheets = {
        f"{name}, {kind}": contact_sheet(images[name][:36])
        for name in params.classes
        for kind, images in (("real (training set)", training), ("synthetic", samples))
    }
    save_picture(titled_sheets(sheets), output.figure)
