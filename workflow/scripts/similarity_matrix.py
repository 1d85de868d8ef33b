"""Write mean SSIM and MS-SSIM of every two image sets and classes."""

from pathlib import Path

from meddiff.core.arrays import load_images
from meddiff.core.progress import Progress
from meddiff.core.tables import write_table
from meddiff.evaluation.similarity import similarity_matrix
from meddiff.metrics.similarity import options_of
from meddiff.workflow.jobs import job

params = snakemake.params
with job(snakemake) as device:
    sets = {(Path(p).parent.name, Path(p).stem): load_images(p) for p in snakemake.input}
    cells = len(sets) * (len(sets) + 1) // 2
    for metric, target in snakemake.output.items():
        with Progress(cells, f"{metric} matrix", "cell") as progress:
            matrix = similarity_matrix(
                sets,
                metric,
                options_of(metric, params.settings, device),
                most=params.images,
                n_resamples=params.n_resamples,
                seed=params.stamp["seed"],
                progress=progress.reach,
            )
        write_table(matrix, target, params.stamp)
