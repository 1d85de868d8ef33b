"""Write Table 5.1, and its numbers as metrics."""

from meddiff.core.tables import read_part, write_metrics, write_table
from meddiff.reporting.extractor_quality import extractor_quality
from meddiff.workflow.jobs import job

files, params = snakemake.input, snakemake.params
with job(snakemake):
    predictions = dict(zip(params.names, map(read_part, files.classifiers), strict=True))
    segmentation = read_part(files.segmentation) if files.segmentation else None
    table = extractor_quality(
        predictions,
        segmentation,
        params.classes,
        params.notes,
        n_resamples=params.n_resamples,
        seed=params.stamp["seed"],
    )
    write_table(table, snakemake.output.table, params.stamp)
    write_metrics(table, snakemake.output.metrics)
