"""Show the near-duplicate pairs that are least alike."""

from meddiff.core.tables import read_csv
from meddiff.data.index import read_index
from meddiff.reporting.figures.grids import save_picture
from meddiff.reporting.figures.raw import near_pairs_sheet
from meddiff.workflow.jobs import job

files = snakemake.input
with job(snakemake):
    sheet = near_pairs_sheet(read_index(files.index), read_csv(files.links), snakemake.params.pairs)
    save_picture(sheet, snakemake.output[0])
