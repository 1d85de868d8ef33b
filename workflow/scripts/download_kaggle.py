"""Download one of the study's data sets from Kaggle."""

from meddiff.data.download import fetch_kaggle
from meddiff.jobs import job

with job(snakemake):
    fetch_kaggle(snakemake.params.dataset, snakemake.output[0])
