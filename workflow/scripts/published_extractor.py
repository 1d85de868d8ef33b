"""Find or fetch a published extractor's weights and keep them with a note that says whose."""

from meddiff.core.checkpoints import save_checkpoint
from meddiff.data.settings import Data
from meddiff.extractors.pretrained import published_weights
from meddiff.workflow.jobs import job

with job(snakemake):
    mirrors = Data.model_validate(snakemake.config["data"]).mirrors
    file = snakemake.input[0] if snakemake.input else None
    # Another net's weights are told here, before hours of training, and not by `features`.
    weights, about, _ = published_weights(snakemake.wildcards.published, mirrors, file)
    save_checkpoint(snakemake.output[0], weights, about)
