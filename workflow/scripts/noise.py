"""Draw noise images with the channel means and variances of each class's real images."""

from meddiff.core.arrays import load_by_class, save_array
from meddiff.metrics.noise import noise_like
from meddiff.workflow.jobs import job

params = snakemake.params
with job(snakemake):
    real = load_by_class(snakemake.input, params.classes)
    for name, target in zip(params.classes, snakemake.output, strict=True):
        noise = noise_like(real[name], params.images, seed=params.seed, name=name)
        save_array(noise, target)
