"""Take over the DDPM of one class, or of all, that was trained elsewhere."""

import numpy as np
import pandas as pd

from meddiff.core.arrays import save_array
from meddiff.core.checkpoints import save_checkpoint
from meddiff.core.files import write_csv
from meddiff.diffusion.importing import import_ddpm
from meddiff.diffusion.settings import DiffusionSettings
from meddiff.diffusion.training.history import COLUMNS
from meddiff.workflow.jobs import job

files, settings = snakemake.output, snakemake.params.settings
with job(snakemake):
    size, channels = snakemake.params.size, snakemake.params.channels
    trained, classes = DiffusionSettings.model_validate(settings), snakemake.params.classes
    weights = import_ddpm(snakemake.input[0], trained, channels, classes)
    write_csv(pd.DataFrame(columns=COLUMNS), files.history)
    save_array(np.empty((0, 0, size, size, channels), np.uint8), files.previews)
    about = {"class": snakemake.wildcards.cls, "settings": settings, "classes": classes}
    save_checkpoint(files.checkpoint, weights, {**about, "size": size, "channels": channels})
