"""Divide images into training, validation and test sets, and undersample the larger classes."""

from meddiff.core.files import atomic_write
from meddiff.data.index import read_table, write_table
from meddiff.data.split import require_images, split_as_published, split_leak_free, undersample
from meddiff.workflow.jobs import job

params = snakemake.params
with job(snakemake):
    index = read_table(snakemake.input[0])
    divide = {"leak_free": split_leak_free, "as_published": split_as_published}[params.protocol]
    index["split"] = divide(index, fractions=params.fractions, seed=params.seed)
    table = undersample(index, params.seed, params.counts)
    shares = "data.hand" if snakemake.wildcards.dataset == "hand" else "split"
    require_images(table, params.classes, params.fractions, shares)
    with atomic_write(snakemake.output[0]) as temporary:
        write_table(table, temporary)
