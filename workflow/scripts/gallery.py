"""Write the gallery of the run's figures."""

from meddiff.core.files import write_text
from meddiff.reporting.figures.numbers import figures_of
from meddiff.reporting.page.gallery import gallery_page
from meddiff.workflow.jobs import job

params = snakemake.params
with job(snakemake):
    figures = figures_of(params.classes, params.trained, params.ddpms)
    write_text(gallery_page(figures, params.stamp), snakemake.output[0])
