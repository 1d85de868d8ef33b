"""Compute SSIM and MS-SSIM over all pairs of one class's images."""

import numpy as np

from meddiff.arrays import load_images
from meddiff.files import write_csv
from meddiff.jobs import job
from meddiff.metrics.rows import similarity_rows
from meddiff.metrics.structural import ms_ssim_pairs, ssim_pairs

settings, wildcards = snakemake.params.settings, snakemake.wildcards
with job(snakemake.log[0]):
    images = np.concatenate([load_images(path) for path in snakemake.input])
    pairs = {
        "ssim": ssim_pairs(images, **settings["ssim"]),
        "ms_ssim": ms_ssim_pairs(images, **settings["ms_ssim"]),
    }
    rows = similarity_rows(wildcards.cls, wildcards.images, pairs, len(images))
    write_csv(rows, snakemake.output[0])
