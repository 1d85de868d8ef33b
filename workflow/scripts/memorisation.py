"""Test whether synthetic images copy training images, and whether the DDPMs betray them."""

import numpy as np
import pandas as pd

from meddiff.core.arrays import load_by_class
from meddiff.core.tables import write_table
from meddiff.diffusion.sampling.ddpm import load_ddpm
from meddiff.evaluation.privacy import copies_rows, load_features, membership_rows
from meddiff.metrics.copies import find_copies
from meddiff.reporting.figures.grids import contact_sheet, save_picture, titled_sheets
from meddiff.workflow.jobs import job

files, params = snakemake.input, snakemake.params
with job(snakemake) as device:
    training, synthetic, unseen = (
        load_by_class(paths, params.classes)
        for paths in (files.training, files.synthetic, files.unseen)
    )
    ddpms = dict(zip(params.drawn, files.ddpms, strict=False))
    rows, sheets = [], {}
    for name in params.classes:
        copies = find_copies(training[name], synthetic[name], unseen[name])
        closest = np.argsort(copies.distances)[:12]
        sheets[f"{name}: synthetic"] = contact_sheet(synthetic[name][closest])
        sheets[f"{name}: nearest in training"] = contact_sheet(
            training[name][copies.nearest[closest]]
        )
        sizes = {"n_training": len(training[name]), "n_synthetic": len(synthetic[name]),
                 "n_unseen": len(unseen[name])}  # fmt: skip
        measured = [*copies_rows(copies, load_features(files.features, name), sizes)]
        if name in ddpms:
            measured += membership_rows(
                load_ddpm(ddpms[name], device), training[name], unseen[name],
                n_resamples=params.n_resamples, seed=params.seed, name=name,
            )  # fmt: skip
        rows += [{"class": name, **row} for row in measured]
    write_table(pd.DataFrame(rows), snakemake.output.table, params.stamp)
    save_picture(titled_sheets(sheets), snakemake.output.figure)
