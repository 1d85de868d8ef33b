"""List the hand radiographs of section 5.1."""

from meddiff.core.files import atomic_write
from meddiff.data.index import build_index, write_table
from meddiff.data.sources import read_mednist_hand
from meddiff.workflow.jobs import job

with job(snakemake):
    index = build_index(read_mednist_hand(snakemake.input[0]), grey=True)
    with atomic_write(snakemake.output[0]) as temporary:
        write_table(index, temporary)
