"""Find or fetch published weights and keep them as safetensors."""

from meddiff.checkpoints import save_checkpoint
from meddiff.data.registry import address_of
from meddiff.data.settings import Data
from meddiff.extractors import weights
from meddiff.jobs import job

params = snakemake.params
with job(snakemake):
    mirrors = Data.model_validate(snakemake.config["data"]).mirrors
    found, note = weights.find_weights(
        getattr(weights, params.which), params.weights, address_of(params.file, mirrors)
    )
    save_checkpoint(snakemake.output[0], found or {}, {"weights": note})
