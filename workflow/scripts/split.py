"""Divide images into training, validation and test sets, and undersample the larger classes."""

from meddiff.core.files import write_csv
from meddiff.data.index import read_index
from meddiff.data.splitting.split import (
    require_images,
    split_as_published,
    split_leak_free,
    undersample,
)
from meddiff.workflow.jobs import job

params = snakemake.params
with job(snakemake):
    index = read_index(snakemake.input[0])
    divide = {"leak_free": split_leak_free, "as_published": split_as_published}[params.protocol]
    index["split"] = divide(index, fractions=params.fractions, seed=params.seed)
    table = undersample(index, params.seed, params.counts)
    require_images(table, params.classes, params.fractions)
    write_csv(table, snakemake.output[0])
