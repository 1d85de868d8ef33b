"""Write the mean SSIM or MS-SSIM of every two image sets and classes."""

from pathlib import Path

from meddiff.arrays import load_images
from meddiff.jobs import job
from meddiff.metrics.similarity import similarity_matrix
from meddiff.progress import Progress
from meddiff.tables import write_table

params, metric = snakemake.params, snakemake.wildcards.similarity
with job(snakemake):
    sets = {(Path(p).parent.name, Path(p).stem): load_images(p) for p in snakemake.input}
    with Progress(len(sets) * (len(sets) + 1) // 2, f"{metric} matrix", "cell") as progress:
        matrix = similarity_matrix(
            sets,
            metric,
            params.window,
            most=params.images,
            replicates=params.replicates,
            seed=params.stamp["seed"],
            progress=progress.reach,
        )
    write_table(matrix, snakemake.output[0], params.stamp)
