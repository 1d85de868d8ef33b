"""Write the scores of classifiers trained on each arm, and their numbers as metrics."""

from meddiff.cas.tables import arms_table, read_runs, score_arms
from meddiff.core.tables import write_metrics, write_table
from meddiff.reporting.image_quality import note_imported
from meddiff.workflow.jobs import job

params = snakemake.params
with job(snakemake):
    scored = score_arms(
        read_runs(snakemake.input),
        params.classes,
        specificity=params.specificity,
        n_resamples=params.n_resamples,
        seed=params.stamp["seed"],
    )
    table = note_imported(arms_table(scored), params.imported)
    write_table(table, snakemake.output.table, params.stamp)
    write_metrics(table, snakemake.output.metrics)
