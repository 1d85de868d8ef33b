"""Compute FID and KID between halves of the real images, by every extractor."""

import pandas as pd

from meddiff.audit.halves import halves_table
from meddiff.core.arrays import load_by_class
from meddiff.core.tables import write_table
from meddiff.extractors.extractor import read_extractor
from meddiff.workflow.jobs import job

files, params = snakemake.input, snakemake.params
with job(snakemake) as device:
    images = load_by_class(files.images, params.classes)
    tables = []
    for checkpoint, name in zip(files.checkpoints, params.extractors, strict=True):
        extractor = read_extractor(checkpoint)
        features = {cls: extractor.features(x, device=device) for cls, x in images.items()}
        table = halves_table(
            features, most=params.images, n_resamples=params.n_resamples, seed=params.stamp["seed"]
        )
        tables.append(table.assign(extractor=name))
    write_table(pd.concat(tables), snakemake.output[0], params.stamp)
