"""Write and draw FID, recall and classification accuracy score by the weight of guidance."""

from meddiff.cas.guidance import guidance_table
from meddiff.core.tables import write_table
from meddiff.reporting.figures.curves import save_figure
from meddiff.reporting.figures.guidance import guidance_figure
from meddiff.workflow.jobs import job

files, params = snakemake.input, snakemake.params
with job(snakemake):
    table = guidance_table(
        files.reference,
        files.guided,
        files.predictions,
        params.extractors,
        params.classes,
        specificity=params.specificity,
        n_resamples=params.n_resamples,
        seed=params.stamp["seed"],
    )
    write_table(table, snakemake.output.table, params.stamp)
    save_figure(guidance_figure(table), snakemake.output.figure)
