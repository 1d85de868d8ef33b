"""Show how the first samples of one class come out of noise."""

from meddiff.diffusion.sampling.ddpm import load_ddpm
from meddiff.diffusion.sampling.sample import denoising_strip
from meddiff.diffusion.settings import SamplerSettings
from meddiff.reporting.figures.grids import save_picture, stages
from meddiff.workflow.jobs import job

MEMBERS, MOMENTS = 4, 10

params = snakemake.params
with job(snakemake) as device:
    settings = SamplerSettings.model_validate(params.settings)
    strip = denoising_strip(
        load_ddpm(snakemake.input[0], device),
        settings,
        range(MEMBERS),
        min(MOMENTS, settings.steps),
        seed=params.seed,
        name=snakemake.wildcards.cls,
    )
    save_picture(stages(strip.swapaxes(0, 1)), snakemake.output[0])
