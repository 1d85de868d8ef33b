"""Draw the curves of one DDPM's training, and the images drawn on the way."""

import pandas as pd

from meddiff.arrays import load_array
from meddiff.figures.curves import save_figure, training_curves
from meddiff.figures.grids import save_picture, stages
from meddiff.jobs import job

files = snakemake.input
with job(snakemake):
    history = pd.read_csv(files.history)
    title = f"DDPM {snakemake.wildcards.cls}"
    save_figure(training_curves({title: history}), snakemake.output.curves)
    checked = history[(history["epoch"] % snakemake.params.every == 0)]["epoch"].tolist()
    previews = load_array(files.previews)
    epochs = [*checked, *history["epoch"].tail(1)][: len(previews)]
    save_picture(stages(previews, [f"epoch {n}" for n in epochs]), snakemake.output.previews)
