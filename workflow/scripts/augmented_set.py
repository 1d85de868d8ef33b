"""Change the images of a set at random as those that a DDPM learns from."""

from meddiff.core.arrays import load_images, save_array
from meddiff.diffusion.settings import DiffusionSettings
from meddiff.diffusion.training.augmentation import augment_once, resolve_augmentation
from meddiff.workflow.jobs import job

params = snakemake.params
with job(snakemake):
    augmentation = DiffusionSettings.model_validate(params.augmentation).augmentation
    images = augment_once(
        load_images(snakemake.input[0]),
        resolve_augmentation(augmentation),
        params.seed,
        "section 5.1",
        snakemake.wildcards.split,
    )
    save_array(images, snakemake.output[0])
