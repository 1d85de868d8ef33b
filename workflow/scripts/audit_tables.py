"""Count what is in the archives, duplicates, and diagnoses under each label policy."""

from meddiff.audit.overlap import overlap_table
from meddiff.core.tables import read_csv, write_table
from meddiff.data.index import read_index
from meddiff.data.labels import labels_table
from meddiff.workflow.jobs import job

files, output, stamp = snakemake.input, snakemake.output, snakemake.params.stamp
with job(snakemake):
    index = read_index(files.index)
    write_table(overlap_table(index, read_csv(files.links)), output.overlap, stamp)
    write_table(labels_table(index), output.labels, stamp)
    write_table(read_csv(files.counts), output.archives, stamp)
