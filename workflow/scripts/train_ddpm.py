"""Train the DDPM of one class."""

import numpy as np

from meddiff.arrays import load_images
from meddiff.checkpoints import save_checkpoint
from meddiff.diffusion.settings import Diffusion
from meddiff.diffusion.training import train_ddpm
from meddiff.files import write_csv
from meddiff.jobs import job

params = snakemake.params
with job(snakemake) as device:
    settings = Diffusion.model_validate(params.settings)
    images = np.concatenate([load_images(path) for path in snakemake.input.images])
    trained = train_ddpm(
        images,
        settings,
        seed=params.seed,
        name=snakemake.wildcards.cls,
        validation=load_images(snakemake.input.validation[0])
        if snakemake.input.validation
        else None,
        device=device,
    )
    write_csv(trained.history, snakemake.output.history)
    about = {"settings": params.settings, "size": images.shape[1], "channels": images.shape[-1]}
    save_checkpoint(snakemake.output.checkpoint, trained.weights, about)
