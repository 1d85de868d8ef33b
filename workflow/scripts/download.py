"""Download one file and check its published MD5."""

from meddiff.data.download import fetch
from meddiff.jobs import job

with job(snakemake):
    fetch(snakemake.params.url, snakemake.output[0], md5=snakemake.params.md5)
