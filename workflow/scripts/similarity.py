"""Compute SSIM and MS-SSIM over all pairs of one class's images."""

import numpy as np

from meddiff.core.arrays import load_images
from meddiff.core.files import write_csv
from meddiff.core.progress import Progress
from meddiff.evaluation.similarity import similarity_rows
from meddiff.metrics.similarity import PAIRS, pairs_of
from meddiff.workflow.jobs import job

params, wildcards = snakemake.params, snakemake.wildcards
with job(snakemake):
    images = np.concatenate([load_images(path) for path in snakemake.input])
    total = len(images) * (len(images) - 1) // 2
    pairs = {}
    for metric in PAIRS:
        with Progress(total, f"{metric} {wildcards.images} {wildcards.cls}", "pair") as progress:
            pairs[metric] = pairs_of(
                metric, images, params.settings.get(metric, {}), progress=progress.reach
            )
    rows = similarity_rows(
        wildcards.cls,
        wildcards.images,
        pairs,
        len(images),
        size=min(images.shape[1:3]),
        n_resamples=params.settings["n_resamples"],
        seed=params.seed,
    )
    write_csv(rows, snakemake.output[0])
