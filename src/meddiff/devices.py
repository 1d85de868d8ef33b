"""Which device the nets run on."""

import torch

from meddiff.errors import MeddiffError


def choose_device(wanted: str) -> str:
    """Return the torch device for `compute.device`; "auto" takes a GPU where there is one.

    Raises:
        MeddiffError: the wanted device is not there.
    """
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if wanted == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there[wanted]:
        raise MeddiffError(
            f"compute.device is {wanted}, but torch sees none here: set it to auto or cpu, or "
            "install torch for your GPU"
        )
    return wanted
