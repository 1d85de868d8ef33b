"""Train the DDPM of one class, or of all."""

from meddiff.diffusion.launch import DdpmJob, discard_checkpoint, launch
from meddiff.workflow.jobs import job

params, files = snakemake.params, snakemake.output
with job(snakemake) as device:
    training = DdpmJob(
        name=snakemake.wildcards.cls,
        images=list(snakemake.input.images),
        validation=list(snakemake.input.validation),
        settings=params.settings,
        seed=params.seed,
        code=params.code,
        # From the configuration: where a DDPM is trained is no parameter of the rule.
        compute=dict(snakemake.config.get("compute", {})),
        device=device,
        checkpoint=files.checkpoint,
        history=files.history,
        previews=files.previews,
        speed=snakemake.log.speed,
        classes=params.classes,
        autoencoder=next(iter(snakemake.input.autoencoder), None),
    )
    launch(training)
# Last of all: Snakemake would remove the outputs of a job that is killed before.
discard_checkpoint(training)
