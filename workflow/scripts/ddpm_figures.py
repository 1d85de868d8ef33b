"""Draw one DDPM's training, previews, samples as they come out of noise, and samples."""

import numpy as np

from meddiff.core.arrays import load_array, load_images
from meddiff.core.tables import read_csv
from meddiff.diffusion.sampling.ddpm import load_ddpm
from meddiff.diffusion.sampling.sample import denoising_strip
from meddiff.diffusion.sampling.settings import SamplerSettings
from meddiff.diffusion.training.history import preview_epochs
from meddiff.reporting.figures.curves import save_figure, training_curves
from meddiff.reporting.figures.grids import contact_sheet, save_picture, stages
from meddiff.workflow.jobs import job

MEMBERS, MOMENTS, SAMPLES = 4, 10, 60

files, params, output = snakemake.input, snakemake.params, snakemake.output
name = snakemake.wildcards.cls
with job(snakemake) as device:
    history = read_csv(files.history)
    save_figure(training_curves(history, f"DDPM {name}"), output.curves)
    titles = [f"epoch {epoch}" for epoch in preview_epochs(history, params.every)]
    previews = load_array(files.previews)
    if params.drawn:  # by one net, some of each
        previews = np.split(previews, len(params.drawn), axis=1)[params.drawn.index(name)]
    save_picture(stages(previews, titles), output.previews)
    settings = SamplerSettings.model_validate(params.settings)
    ddpm, moments = load_ddpm(files.checkpoint, device), min(MOMENTS, settings.steps)
    strip = denoising_strip(ddpm, settings, range(MEMBERS), moments, seed=params.seed, name=name)
    save_picture(stages(strip.swapaxes(0, 1)), output.denoising)
    save_picture(contact_sheet(load_images(files.samples)[:SAMPLES]), output.samples)
