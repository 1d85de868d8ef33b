"""List the images with masks that the U-Net learns from."""

from meddiff.data.index import build_index, read_table, write_table
from meddiff.data.segmentation import masked_rows
from meddiff.data.sources import read_isic2016
from meddiff.files import atomic_write
from meddiff.jobs import job

with job(snakemake):
    if snakemake.params.from_split:
        index = masked_rows(read_table(snakemake.input.split))
    else:
        records = read_isic2016(**dict(snakemake.input.items()))
        index = build_index(records, workers=snakemake.threads)
    with atomic_write(snakemake.output[0]) as temporary:
        write_table(index, temporary)
