"""Draw the synthetic images of a class from its DDPM, or one shard of them."""

from pathlib import Path

from meddiff.core.arrays import save_array
from meddiff.core.settings import ComputeSettings
from meddiff.diffusion.checkpointing import CheckpointFile
from meddiff.diffusion.sampling.drawing import draw_shard
from meddiff.diffusion.sampling.settings import SamplingSettings
from meddiff.workflow.jobs import job

params, wildcards = snakemake.params, snakemake.wildcards
shard = wildcards.get("shard")
state = Path(snakemake.output[0]).with_suffix(".state.safetensors")
with job(snakemake) as device:
    images = draw_shard(
        snakemake.input.checkpoint,
        SamplingSettings.model_validate(params.settings),
        # From the configuration: what changes no image is no parameter of the rule.
        ComputeSettings.model_validate(snakemake.config.get("compute", {})),
        shard=int(shard) if shard is not None else None,
        first=params.get("first", 0),
        seed=params.seed,
        name=wildcards.cls,
        code=params.code,
        state=state,
        device=device,
    )
    save_array(images, snakemake.output[0])
CheckpointFile(state, {}).remove()
