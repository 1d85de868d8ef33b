"""Draw loss, learning rate and validation scores of every extractor trained here."""

from meddiff.core.tables import read_csv
from meddiff.reporting.figures.curves import save_figure, training_curves
from meddiff.workflow.jobs import job

params = snakemake.params
with job(snakemake):
    for name, history, picture in zip(params.names, snakemake.input, snakemake.output, strict=True):
        held_out = params.held_out.get(name, "validation")
        save_figure(training_curves(read_csv(history), name, held_out=held_out), picture)
