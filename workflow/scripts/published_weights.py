"""Find or fetch published weights and keep them as safetensors."""

from meddiff.core.checkpoints import save_checkpoint
from meddiff.data.settings import Data
from meddiff.extractors import weights
from meddiff.extractors.fetching import find_weights
from meddiff.workflow.jobs import job

params = snakemake.params
with job(snakemake):
    mirrors = Data.model_validate(snakemake.config["data"]).mirrors
    found, note = find_weights(getattr(weights, params.which), params.weights, mirrors)
    save_checkpoint(snakemake.output[0], found or {}, {"weights": note})
