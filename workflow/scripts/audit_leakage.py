"""Count what training and test images share under both protocols."""

from meddiff.audit.leakage import leakage_table
from meddiff.core.tables import write_table
from meddiff.data.index import read_index
from meddiff.workflow.jobs import job

files, params = snakemake.input, snakemake.params
with job(snakemake):
    leakage = leakage_table(
        read_index(files.index),
        read_index(files.segmentation) if files.segmentation else None,
        fractions=params.fractions,
        counts=params.counts,
        seed=params.stamp["seed"],
        official=params.official,
        ddpm_sets=params.ddpm_sets,
    )
    write_table(leakage, snakemake.output[0], params.stamp)
