"""Compute SSIM and MS-SSIM over all pairs of the images of every class."""

import pandas as pd

from meddiff.core.arrays import load_by_class
from meddiff.core.files import write_csv
from meddiff.core.progress import Progress
from meddiff.evaluation.similarity import MeasuredPairs, similarity_rows
from meddiff.metrics.similarity import PAIRS, SUBSETS, options_of, pairs_of
from meddiff.workflow.jobs import job

params, image_set = snakemake.params, snakemake.wildcards.images
settings = params.settings
with job(snakemake) as device:
    parts = []
    for name, every in load_by_class(snakemake.input, params.classes).items():
        for subset in settings["ssim_on"]:
            images = every[SUBSETS[subset](every)][: settings["ssim_images"]]
            values = {}
            for metric in PAIRS:
                n_pairs = len(images) * (len(images) - 1) // 2
                with Progress(n_pairs, f"{metric} {image_set} {name}", "pair") as progress:
                    options = options_of(metric, settings, device)
                    values[metric] = pairs_of(metric, images, options, progress=progress.reach)
            size = min(images.shape[1:3])
            pairs = MeasuredPairs(values, len(images), size, subset, device)
            resampling = {"n_resamples": settings["n_resamples"], "seed": params.seed}
            parts.append(similarity_rows(name, image_set, pairs, **resampling))
    write_csv(pd.concat(parts), snakemake.output[0])
