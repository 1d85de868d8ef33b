"""Count what is in the archives, duplicates and diagnoses, and show near duplicates."""

from meddiff.audit.overlap import overlap_table
from meddiff.core.tables import read_csv, write_table
from meddiff.data.index import read_index
from meddiff.data.labels import labels_table
from meddiff.reporting.figures.grids import save_picture
from meddiff.reporting.figures.raw import near_pairs_sheet
from meddiff.workflow.jobs import job

files, output, params = snakemake.input, snakemake.output, snakemake.params
with job(snakemake):
    index, links = read_index(files.index), read_csv(files.links)
    tables = {
        "archives": read_csv(files.counts),
        "overlap": overlap_table(index, links),
        "labels": labels_table(index),
    }
    for name, table in tables.items():
        write_table(table, output[name], params.stamp)
    save_picture(near_pairs_sheet(index, links, params.pairs), output.near)
