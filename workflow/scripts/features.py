"""Compute one extractor's features of every class of an image set."""

from meddiff.core.arrays import load_images, save_array
from meddiff.extractors.extractor import read_extractor
from meddiff.workflow.jobs import job

params = snakemake.params
with job(snakemake) as device:
    extractor = read_extractor(snakemake.input.checkpoint)
    for source, target in zip(snakemake.input.images, snakemake.output, strict=True):
        save_array(extractor.features(load_images(source), device=device), target)
