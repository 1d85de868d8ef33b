"""The smallest net that has everything a DDPM's has."""

TINY = {
    "channels": [8, 16],
    "attention": [False, True],
    "residual_blocks": 1,
    "head_channels": 8,
    "norm_groups": 4,
}
