"""Draw the curves of one DDPM's training, and the images drawn on the way."""

from meddiff.core.arrays import load_array
from meddiff.core.tables import read_csv
from meddiff.diffusion.training.history import preview_epochs
from meddiff.reporting.figures.curves import save_figure, training_curves
from meddiff.reporting.figures.grids import save_picture, stages
from meddiff.workflow.jobs import job

files = snakemake.input
with job(snakemake):
    history = read_csv(files.history)
    title = f"DDPM {snakemake.wildcards.cls}"
    save_figure(training_curves(history, title), snakemake.output.curves)
    epochs = preview_epochs(history, snakemake.params.every)
    titles = [f"epoch {epoch}" for epoch in epochs]
    save_picture(stages(load_array(files.previews), titles), snakemake.output.previews)
