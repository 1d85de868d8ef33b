"""The smallest net that has everything a DDPM's has, and forward processes by their settings."""

from typing import Any

from meddiff.diffusion.process import Process, build_process
from meddiff.diffusion.settings import ScheduleSettings

TINY = {
    "channels": [8, 16],
    "attention": [False, True],
    "residual_blocks": 1,
    "head_channels": 8,
    "norm_groups": 4,
}

OTHERS = ["ncsn", "ve", "vp", "sub_vp"]
"""Processes beside the DDPM's."""


def process(**settings: Any) -> Process:
    """Return a forward process."""
    return build_process(ScheduleSettings.model_validate(settings))
