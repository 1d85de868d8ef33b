"""Compute SSIM and MS-SSIM over all pairs of one class's images."""

import numpy as np

from meddiff.arrays import load_images
from meddiff.files import write_csv
from meddiff.jobs import job
from meddiff.metrics.rows import similarity_rows
from meddiff.metrics.structural import ms_ssim_pairs, ssim_pairs
from meddiff.progress import Progress

settings, wildcards = snakemake.params.settings, snakemake.wildcards
with job(snakemake):
    images = np.concatenate([load_images(path) for path in snakemake.input])
    total = len(images) * (len(images) - 1)
    with Progress(total, f"similarity {wildcards.images} {wildcards.cls}", unit="pair") as progress:
        tell = {"progress": progress.advance}
        pairs = {
            "ssim": ssim_pairs(images, **settings["ssim"], **tell),
            "ms_ssim": ms_ssim_pairs(images, **settings["ms_ssim"], **tell),
        }
    rows = similarity_rows(wildcards.cls, wildcards.images, pairs, len(images))
    write_csv(rows, snakemake.output[0])
