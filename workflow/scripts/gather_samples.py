"""Put the shards of a class's synthetic images together."""

from meddiff.core.arrays import save_array
from meddiff.diffusion.sampling.shards import gather_shards
from meddiff.workflow.jobs import job

with job(snakemake):
    save_array(gather_shards(snakemake.input, snakemake.params.images), snakemake.output[0])
