"""Images of a checkpoint, for those who have no run: `meddiff.generate`."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from meddiff.core.checkpoints import load_metadata
from meddiff.core.devices import choose_device
from meddiff.core.errors import MeddiffError
from meddiff.diffusion.sampling.ddpm import load_ddpm
from meddiff.diffusion.sampling.sample import sample_images
from meddiff.diffusion.sampling.settings import SamplerSettings


def generate(
    checkpoint: str | Path,
    n: int,
    seed: int = 0,
    *,
    class_name: str | None = None,
    sampler: SamplerSettings | None = None,
    device: str = "auto",
) -> npt.NDArray[np.uint8]:
    """Return images of a trained DDPM.

    Image i depends on the checkpoint, the sampler and (seed, i) alone, bit for bit on one device,
    and not on how many others are drawn; images of two classes' DDPMs have different noise. With
    the seed and the sampler of a run they are that run's synthetic images.

    Args:
        checkpoint: a DDPM such as `models/ddpm/malignant.safetensors`.
        n: number of images, 0 or more.
        seed: a whole number.
        class_name: which class, of a DDPM of several; a DDPM of one draws its own.
        sampler: sampler, steps and arithmetic; 25 steps of SDE-DPM-Solver++(2M) (Lu et al. 2022) by
            default.
        device: "auto", "cpu", "cuda" or "mps".

    Returns:
        uint8 (n,H,W,C), C being 1 for a net of grey images, else 3.

    Raises:
        MeddiffError: the file is missing, truncated or no DDPM, or does not draw that class; the
            device is not there; its memory does not suffice; or the net gives values that are not
            finite.
    """
    model = load_ddpm(checkpoint, choose_device(device))
    own = load_metadata(checkpoint).get("class", "")
    if not model.conditions.classes and class_name not in (None, own):
        raise MeddiffError(f"{checkpoint} draws {own} and no {class_name!r}: name another file")
    name = own if class_name is None else class_name
    return sample_images(model, sampler or SamplerSettings(), range(n), seed=seed, name=name)
