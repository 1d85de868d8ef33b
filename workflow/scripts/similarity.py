"""Compute SSIM and MS-SSIM over all pairs of one class's images."""

import numpy as np
import pandas as pd

from meddiff.core.arrays import load_images
from meddiff.core.files import write_csv
from meddiff.core.progress import Progress
from meddiff.evaluation.similarity import similarity_rows
from meddiff.metrics.similarity import PAIRS, SUBSETS, pairs_of
from meddiff.workflow.jobs import job

params, wildcards = snakemake.params, snakemake.wildcards
with job(snakemake):
    every = np.concatenate([load_images(path) for path in snakemake.input])
    parts = []
    for subset in params.settings["ssim_on"]:
        images = every[SUBSETS[subset](every)]
        total = len(images) * (len(images) - 1) // 2
        pairs = {}
        for metric in PAIRS:
            title = f"{metric} {wildcards.images} {wildcards.cls}"
            with Progress(total, title, "pair") as progress:
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
            subset=subset,
        )
        parts.append(rows)
    write_csv(pd.concat(parts), snakemake.output[0])
