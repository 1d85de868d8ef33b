"""Write the scores of readers, and how often each image was called synthetic."""

from meddiff.core.tables import write_table
from meddiff.reader_study.answers import read_answers, read_key
from meddiff.reader_study.score import image_table, reader_table
from meddiff.workflow.jobs import job

files, params = snakemake.input, snakemake.params
with job(snakemake):
    key = read_key(files.key)
    answers = read_answers(files.answers, key)
    write_table(reader_table(answers, key), snakemake.output.table, params.stamp)
    write_table(image_table(answers, key), snakemake.output.images, params.stamp)
