"""Write how much of real images the autoencoder loses."""

from pathlib import Path

from meddiff.core.arrays import load_by_class
from meddiff.core.tables import write_table
from meddiff.diffusion.latent.autoencoder import load_autoencoder
from meddiff.diffusion.latent.lpips import load_lpips
from meddiff.evaluation.reconstruction import reconstruction_table
from meddiff.workflow.jobs import job

files, params = snakemake.input, snakemake.params
with job(snakemake) as device:
    sets = {
        name: load_by_class(
            [p for p in files.images if Path(p).parent.name == name], params.classes
        )
        for name in dict.fromkeys(Path(path).parent.name for path in files.images)
    }
    autoencoder = load_autoencoder(files.checkpoint, device)
    lpips = load_lpips(files.alexnet[0], device) if files.alexnet else None
    table = reconstruction_table(autoencoder, sets, lpips, **params.window)
    write_table(table, snakemake.output[0], params.stamp)
