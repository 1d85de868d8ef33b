"""Write what synthetic images add to parts of the real ones."""

from meddiff.cas.scoring import score_cells
from meddiff.cas.tables import DOSE, doses_table, read_runs
from meddiff.core.tables import write_metrics, write_table
from meddiff.reporting.image_quality import note_imported
from meddiff.workflow.jobs import job

params = snakemake.params
with job(snakemake):
    scored = score_cells(
        read_runs(snakemake.input),
        DOSE,
        params.classes,
        specificity=params.specificity,
        n_resamples=params.n_resamples,
        seed=params.stamp["seed"],
    )
    table = doses_table(scored, params.fractions, params.ratios)
    table = note_imported(table, params.imported)
    write_table(table, snakemake.output.table, params.stamp)
    write_metrics(table, snakemake.output.metrics)
