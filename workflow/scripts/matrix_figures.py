"""Draw matrices of image sets as heat maps."""

from pathlib import Path

from meddiff.core.tables import read_csv
from meddiff.reporting.figures.curves import save_figure
from meddiff.reporting.figures.matrices import heat_map
from meddiff.workflow.jobs import job

with job(snakemake):
    for source, target in zip(snakemake.input, snakemake.output, strict=True):
        save_figure(heat_map(read_csv(source), Path(source).stem), target)
