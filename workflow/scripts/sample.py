"""Draw the synthetic images of one class from its DDPM."""

from meddiff.arrays import save_array
from meddiff.devices import choose_device
from meddiff.diffusion.sampling import sample_images
from meddiff.diffusion.settings import Sampling
from meddiff.jobs import job

params = snakemake.params
with job(snakemake.log[0], params.compute["threads"]):
    images = sample_images(
        snakemake.input.checkpoint,
        Sampling.model_validate(params.settings),
        seed=params.seed,
        name=snakemake.wildcards.cls,
        device=choose_device(params.compute["device"]),
    )
    save_array(images, snakemake.output[0])
