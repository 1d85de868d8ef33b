"""Count duplicates, diagnoses, and what training and test images share."""

from meddiff.audit.duplicates import duplicates_table
from meddiff.audit.leakage import leakage_table
from meddiff.core.tables import read_csv, write_table
from meddiff.data.index import read_index
from meddiff.data.labels import labels_table
from meddiff.workflow.jobs import job

files, output, params = snakemake.input, snakemake.output, snakemake.params
with job(snakemake):
    index = read_index(files.index)
    leakage = leakage_table(
        index,
        read_index(files.segmentation) if files.segmentation else None,
        fractions=params.fractions,
        counts=params.counts,
        seed=params.stamp["seed"],
        official=params.official,
        ddpm_sets=params.ddpm_sets,
    )
    duplicates = duplicates_table(index, read_csv(files.links))
    write_table(duplicates, output.duplicates, params.stamp)
    write_table(labels_table(index), output.labels, params.stamp)
    write_table(leakage, output.leakage, params.stamp)
