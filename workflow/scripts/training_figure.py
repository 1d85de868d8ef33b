"""Draw loss and learning rate of every DDPM and extractor."""

import pandas as pd

from meddiff.figures.curves import save_figure, training_curves
from meddiff.jobs import job

with job(snakemake):
    histories = map(pd.read_csv, snakemake.input)
    figure = training_curves(dict(zip(snakemake.params.titles, histories, strict=True)))
    save_figure(figure, snakemake.output[0])
