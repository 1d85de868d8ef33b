"""List the hand radiographs of section 5.1."""

from meddiff.core.files import write_csv
from meddiff.data.index import build_index
from meddiff.data.sources import read_mednist_hand
from meddiff.workflow.jobs import job

with job(snakemake):
    index = build_index(read_mednist_hand(snakemake.input[0]), grey=True)
    write_csv(index, snakemake.output[0])
