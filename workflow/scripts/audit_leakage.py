"""Count what training and test images share under both protocols, and with each image twice."""

from meddiff.audit.leakage import leakage_table, listed_again
from meddiff.core.tables import write_table
from meddiff.data.index import read_index
from meddiff.workflow.jobs import job

files, params = snakemake.input, snakemake.params
with job(snakemake):
    index = read_index(files.index)
    masked = read_index(files.segmentation) if files.segmentation else None
    split = {"fractions": params.fractions, "counts": params.counts,
             "seed": params.stamp["seed"], "ddpm_sets": params.ddpm_sets}  # fmt: skip
    leakage = leakage_table(index, masked, official=params.official, **split)
    write_table(leakage, snakemake.output.leakage, params.stamp)
    copies = leakage_table(listed_again(index), None, **split)
    write_table(copies, snakemake.output.copies, params.stamp)
