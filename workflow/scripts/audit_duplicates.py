"""Count duplicates between editions, and images of each diagnosis."""

from meddiff.audit.duplicates import duplicates_table
from meddiff.audit.labels import labels_table
from meddiff.core.tables import read_csv, write_table
from meddiff.data.index import read_index
from meddiff.workflow.jobs import job

output, stamp = snakemake.output, snakemake.params.stamp
with job(snakemake):
    index = read_index(snakemake.input.index)
    links = read_csv(snakemake.input.links)
    write_table(duplicates_table(index, links), output.duplicates, stamp)
    write_table(labels_table(index), output.labels, stamp)
