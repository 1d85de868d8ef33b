"""Draw phantom hand radiographs and write them as MedNIST is published."""

from meddiff.data.phantom.archives import write_mednist
from meddiff.workflow.jobs import job

with job(snakemake):
    write_mednist(snakemake.output[0], seed=snakemake.params.seed, n=snakemake.params.hands)
