"""Draw the synthetic images of one class from its DDPM."""

from meddiff.arrays import save_array
from meddiff.diffusion.sampling import sample_images
from meddiff.diffusion.settings import Sampling
from meddiff.jobs import job

params = snakemake.params
with job(snakemake) as device:
    images = sample_images(
        snakemake.input.checkpoint,
        # From the configuration: `batch_size` changes no image and is no parameter of the rule.
        Sampling.model_validate(snakemake.config.get("sampling", {})),
        seed=params.seed,
        name=snakemake.wildcards.cls,
        device=device,
    )
    save_array(images, snakemake.output[0])
