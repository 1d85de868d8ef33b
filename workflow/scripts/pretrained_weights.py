"""Find or fetch a net's published weights and keep them with a note that names them."""

from meddiff.core.checkpoints import save_checkpoint
from meddiff.data.settings import DataSettings
from meddiff.extractors.pretrained import pretrained_weights
from meddiff.workflow.jobs import job

with job(snakemake):
    mirrors = DataSettings.model_validate(snakemake.config["data"]).mirrors
    file = snakemake.input[0] if snakemake.input else None
    weights, metadata = pretrained_weights(
        snakemake.wildcards.net, snakemake.params.policy, mirrors, file
    )
    save_checkpoint(snakemake.output[0], weights, metadata)
