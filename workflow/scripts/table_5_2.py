"""Write Table 5.2, and its numbers as metrics."""

from meddiff.core.tables import read_part, write_metrics, write_table
from meddiff.reporting.image_quality import image_quality, note_imported
from meddiff.workflow.jobs import job

files, params = snakemake.input, snakemake.params
with job(snakemake):
    parts = [read_part(path) for path in [*files.similarity, *files.distances]]
    table = image_quality(parts, params.reference, params.notes)
    table = note_imported(table, params.imported)
    write_table(table, snakemake.output.table, params.stamp)
    write_metrics(table, snakemake.output.metrics)
