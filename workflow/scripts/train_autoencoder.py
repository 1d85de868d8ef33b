"""Train the autoencoder in whose latent space DDPMs work."""

from pathlib import Path

from meddiff.core.settings import ComputeSettings
from meddiff.diffusion.checkpointing import CheckpointFile
from meddiff.diffusion.latent.launch import run_training
from meddiff.workflow.jobs import job

files, params = snakemake.input, snakemake.params
state = Path(snakemake.output.checkpoint).with_suffix(".state.safetensors")
with job(snakemake) as device:
    run_training(
        files.images,
        files.validation,
        params.settings,
        # From the configuration: where it is trained is no parameter of the rule.
        ComputeSettings.model_validate(snakemake.config.get("compute", {})),
        alexnet=next(iter(files.alexnet), None),
        seed=params.seed,
        code=params.code,
        checkpoint=snakemake.output.checkpoint,
        history=snakemake.output.history,
        state=state,
        device=device,
    )
# Last of all: Snakemake would remove the outputs of a job that is killed before.
CheckpointFile(state, {}).remove()
