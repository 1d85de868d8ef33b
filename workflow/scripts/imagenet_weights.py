"""Find or fetch ImageNet's ResNet50 weights and keep them as safetensors."""

from meddiff.checkpoints import save_checkpoint
from meddiff.data.registry import address_of
from meddiff.data.settings import Data
from meddiff.extractors.resnet50 import imagenet_weights
from meddiff.jobs import job

with job(snakemake):
    params = snakemake.params
    mirrors = Data.model_validate(snakemake.config["data"]).mirrors
    weights, note = imagenet_weights(params.weights, address_of(params.file, mirrors))
    save_checkpoint(snakemake.output[0], weights or {}, {"weights": note})
