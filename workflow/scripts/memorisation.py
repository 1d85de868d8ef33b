"""Test whether synthetic images copy training images, and show the closest ones."""

import numpy as np
import pandas as pd

from meddiff.core.arrays import load_by_class
from meddiff.core.tables import write_table
from meddiff.evaluation.rows import memorisation_row
from meddiff.metrics.copies import find_copies
from meddiff.reporting.figures.grids import contact_sheet, save_picture, titled_sheets
from meddiff.workflow.jobs import job

files, params = snakemake.input, snakemake.params
with job(snakemake):
    training, synthetic, unseen = (
        load_by_class(paths, params.classes)
        for paths in (files.training, files.synthetic, files.unseen)
    )
    rows, sheets = [], {}
    for name in params.classes:
        copies = find_copies(training[name], synthetic[name], unseen[name])
        closest = np.argsort(copies.distances)[:12]
        sheets[f"{name}: synthetic"] = contact_sheet(synthetic[name][closest])
        sheets[f"{name}: nearest in training"] = contact_sheet(
            training[name][copies.nearest[closest]]
        )
        sizes = {"n_training": len(training[name]), "n_synthetic": len(synthetic[name])}
        rows.append(
            {"class": name, **memorisation_row(copies), **sizes, "n_unseen": len(unseen[name])}
        )
    write_table(pd.DataFrame(rows), snakemake.output.table, params.stamp)
    save_picture(titled_sheets(sheets), snakemake.output.figure)
