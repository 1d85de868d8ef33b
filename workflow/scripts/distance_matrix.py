"""Write FID and KID of every two image sets and classes."""

from pathlib import Path

from meddiff.core.arrays import load_array
from meddiff.core.tables import write_table
from meddiff.evaluation.distances import distance_matrix
from meddiff.metrics.frechet import warn_if_few
from meddiff.workflow.jobs import job

params = snakemake.params
with job(snakemake):
    sets = {(Path(p).parent.name, Path(p).stem): load_array(p) for p in snakemake.input}
    few = min(params.images, *map(len, sets.values()))
    warn_if_few(few, next(iter(sets.values())).shape[1])
    for metric, target in snakemake.output.items():
        matrix = distance_matrix(
            sets,
            metric,
            most=params.images,
            n_resamples=params.n_resamples,
            seed=params.stamp["seed"],
        )
        write_table(matrix, target, params.stamp)
