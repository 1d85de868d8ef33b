"""Draw matrices of image sets as heat maps."""

from pathlib import Path

from meddiff.figures.curves import save_figure
from meddiff.figures.matrices import heat_map
from meddiff.jobs import job
from meddiff.reading import read_csv

with job(snakemake):
    for source, target in zip(snakemake.input, snakemake.output, strict=True):
        save_figure(heat_map(read_csv(source), Path(source).stem), target)
