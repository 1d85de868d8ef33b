"""Measure how likely the DDPMs take training and unseen images to be."""

import pandas as pd

from meddiff.core.arrays import load_by_class
from meddiff.core.tables import write_table
from meddiff.diffusion.sampling.ddpm import load_ddpm
from meddiff.evaluation.likelihood import likelihood_rows
from meddiff.workflow.jobs import job

files, params = snakemake.input, snakemake.params
with job(snakemake) as device:
    sets = {"training": load_by_class(files.training, params.classes)}
    if files.unseen:
        sets["unseen"] = load_by_class(files.unseen, params.classes)
    rows = []
    for name, checkpoint in zip(params.classes, files.ddpms, strict=True):
        images = {key: of_class[name] for key, of_class in sets.items()}
        measured = likelihood_rows(
            load_ddpm(checkpoint, device), images, most=params.images, seed=params.seed, name=name
        )
        rows += [{"class": name, **row} for row in measured]
    write_table(pd.DataFrame(rows), snakemake.output[0], params.stamp)
