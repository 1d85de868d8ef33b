"""Count black, flat and colour-shifted samples of every class."""

from meddiff.core.arrays import load_by_class
from meddiff.core.tables import write_table
from meddiff.diffusion.sampling.checks import faults_table
from meddiff.workflow.jobs import job

files, params = snakemake.input, snakemake.params
with job(snakemake):
    samples = load_by_class(files.samples, params.classes)
    training = load_by_class(files.training, params.classes)
    write_table(faults_table(samples, training), snakemake.output[0], params.stamp)
