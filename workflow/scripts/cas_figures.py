"""Draw scores of every arm, how far probabilities can be trusted, and the dose-response."""

import pandas as pd

from meddiff.cas.tables import read_runs, reliability_table
from meddiff.core.tables import read_csv, write_table
from meddiff.reporting.figures.cas import arms_figure, dose_figure, reliability_figure
from meddiff.reporting.figures.curves import save_figure
from meddiff.workflow.jobs import job

files, params = snakemake.input, snakemake.params
with job(snakemake):
    table = pd.concat(map(read_csv, files.tables), ignore_index=True)
    curves = reliability_table(read_runs(files.predictions), params.classes)
    save_figure(arms_figure(table, len(params.classes)), snakemake.output.arms)
    save_figure(reliability_figure(curves), snakemake.output.reliability)
    save_figure(dose_figure(read_csv(files.doses)), snakemake.output.doses)
    write_table(curves, snakemake.output.curves, params.stamp)
