"""Write the table of several generators, and its numbers as metrics."""

from meddiff.assessment.generators import by_generator, generators_table, training_scores
from meddiff.core.tables import write_metrics, write_table
from meddiff.workflow.jobs import job

files, output, params = snakemake.input, snakemake.output, snakemake.params
with job(snakemake):
    trained = None
    if files.predictions:
        trained = training_scores(
            files.predictions,
            params.classes,
            own=params.own,
            specificity=params.specificity,
            n_resamples=params.n_resamples,
            seed=params.stamp["seed"],
        )
    table = generators_table(
        by_generator(files.quality, params.own),
        by_generator(files.copies, params.own),
        trained,
        own=params.own,
        reference=params.reference,
    )
    write_table(table, output.table, params.stamp)
    write_metrics(table, output.metrics)
