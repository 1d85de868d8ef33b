"""Predict random labels, and the real ones, from how the files were encoded."""

from meddiff.audit.encoding import encoding_table
from meddiff.audit.settings import EncodingSettings
from meddiff.core.tables import write_table
from meddiff.data.index import read_index
from meddiff.workflow.jobs import job

params = snakemake.params
with job(snakemake):
    rows = read_index(snakemake.input.split)
    table = encoding_table(
        rows[rows["selected"]],
        EncodingSettings(**params.settings),
        **params.preprocessing,
        seed=params.seed,
        workers=snakemake.threads,
    )
    write_table(table, snakemake.output[0], params.stamp)
