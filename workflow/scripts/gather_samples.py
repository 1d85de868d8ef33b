"""Put the shards of a class's synthetic images together."""

import numpy as np

from meddiff.core.arrays import load_images, save_array
from meddiff.workflow.jobs import job

with job(snakemake):
    save_array(np.concatenate([load_images(path) for path in snakemake.input]), snakemake.output[0])
