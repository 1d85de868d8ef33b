"""Find or fetch ImageNet's ResNet50 weights and keep them as safetensors."""

from meddiff.checkpoints import save_checkpoint
from meddiff.extractors.resnet50 import imagenet_weights
from meddiff.jobs import job

with job(snakemake):
    weights, note = imagenet_weights(snakemake.params.weights)
    save_checkpoint(snakemake.output[0], weights or {}, {"weights": note})
