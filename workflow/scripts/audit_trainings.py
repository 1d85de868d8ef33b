"""Train a DDPM as the study's text has it, and with one of its faults each."""

from meddiff.audit.trainings import trainings_table, variants
from meddiff.core.arrays import load_images
from meddiff.core.tables import write_table
from meddiff.diffusion.settings import DiffusionSettings
from meddiff.workflow.jobs import job

files, params = snakemake.input, snakemake.params
with job(snakemake) as device:
    images, validation = load_images(files.images), load_images(files.validation)
    settings = DiffusionSettings.model_validate(params.settings)
    table = trainings_table(
        (images, validation),
        variants(settings, params.trainings["epochs"], len(images)),
        name=params.cls,
        seeds=params.trainings["seeds"],
        seed=params.stamp["seed"],
        device=device,
    )
    write_table(table, snakemake.output[0], params.stamp)
