"""Images from a trained DDPM.

Image i depends only on (seed, name, i), bit for bit. Every image has a random stream of its own,
and the net always sees it at the same place of a block of the same size, whatever else is drawn:
how many images a net sees at once changes its rounding.
"""

import logging
import math
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from meddiff.core.devices import check_precision, memory_errors, to_device
from meddiff.core.errors import MeddiffError
from meddiff.core.progress import Progress
from meddiff.core.randomness import stream, stream_seed
from meddiff.diffusion.checkpointing import CheckpointFile, TrainState
from meddiff.diffusion.sampling.ddpm import Ddpm, clean_estimator
from meddiff.diffusion.sampling.methods import advice, method
from meddiff.diffusion.sampling.noise import numpy_normal
from meddiff.diffusion.sampling.samplers import Draw
from meddiff.diffusion.sampling.settings import SamplerSettings

log = logging.getLogger(__name__)

LACKS_MEMORY = (
    "set compute.device to cpu, or give the class a DDPM with fewer diffusion.network.channels"
)
DRAWN = 2**22
"""Normal numbers that a GPU draws at once: for few images, those of many steps."""


def sample_images(
    model: Ddpm,
    settings: SamplerSettings,
    members: Sequence[int],
    *,
    seed: int,
    name: str,
    checkpointer: CheckpointFile | None = None,
) -> np.ndarray:
    """Draw images as `sample`, uint8 (members,H,W,C), with progress; a checkpoint resumes them."""
    plan = "%s: %d images, %s, %d steps, %d images at once"
    log.info(plan, name, len(members), settings.sampler, settings.steps, model.block)
    if reason := advice(settings, model.schedule):
        log.warning("%s: %s", name, reason)
    channels, height, width = model.image_shape
    saved = checkpointer and checkpointer.load()
    drawn = [saved.tensors["images"].numpy()] if saved else []
    done = sum(map(len, drawn))
    with (
        memory_errors(LACKS_MEMORY),
        Progress(len(members), f"sample {name}", "image", done=done) as bar,
    ):
        for images in sample(model, settings, members[done:], seed=seed, name=name):
            drawn.append(images)
            bar.advance(len(images))
            if checkpointer and checkpointer.is_due():
                together = torch.from_numpy(np.concatenate(drawn))
                checkpointer.save(TrainState({"images": together}, {}))
    return np.concatenate([*drawn, np.empty((0, height, width, channels), np.uint8)])


def denoising_strip(
    model: Ddpm,
    settings: SamplerSettings,
    members: Sequence[int],
    moments: int,
    *,
    seed: int,
    name: str,
) -> np.ndarray:
    """Return evenly spaced states of images from noise on, uint8 (members,moments,H,W,C)."""
    wanted = np.linspace(0, settings.steps - 1, moments).round().astype(int)
    strips = []
    for block in _blocks(members, model.block):
        shown = [
            _pixels(model, images, block)
            for step, images in enumerate(trajectory(model, settings, block, seed=seed, name=name))
            for _ in range(int((wanted == step).sum()))
        ]
        strips.append(np.stack(shown, axis=1))
    return np.concatenate(strips)


def sample(
    model: Ddpm, settings: SamplerSettings, members: Sequence[int], *, seed: int, name: str
) -> Iterator[np.ndarray]:
    """Yield images, uint8 (n,H,W,C), block by block.

    Args:
        members: numbers of the images to draw; image i is the same in every call.
        name: class, part of each image's stream.

    Raises:
        MeddiffError: the net gives values that are not finite, or memory does not suffice.
    """
    for block in _blocks(members, model.block):
        # Only the last are kept, where a list would hold those of every step.
        images = deque(trajectory(model, settings, block, seed=seed, name=name), maxlen=1).pop()
        yield _pixels(model, images, block)


@torch.no_grad()
def trajectory(
    model: Ddpm, settings: SamplerSettings, members: Sequence[int], *, seed: int, name: str
) -> Iterator[Tensor]:
    """Yield a whole block after each denoising step, float (block,C,H,W) in the net's range.

    Arguments as for `sample`, but the members are of one block. Image i stands at place
    i % block; where none is wanted there is noise of no meaning.

    Raises:
        MeddiffError: the net gives values that are not finite, or the device lacks the precision.
    """
    model.network.eval()
    device = next(model.network.parameters()).device
    check_precision(device.type, settings.precision)
    draw = noise_source(model, members, (seed, "sample", name), device)
    predicted = model.predict(settings.precision, name, settings.guidance)
    denoise = clean_estimator(predicted, model.schedule, model.limit)
    for images in method(settings, model.schedule)(denoise, draw(), draw):
        yield images
    if not torch.isfinite(images[_places(model, members)]).all():
        raise MeddiffError(
            f"samples of {name} are not finite: the DDPM did not train well; lower diffusion.lr "
            "and train it again"
        )


def noise_source(
    model: Ddpm, members: Sequence[int], key: tuple[int | str, ...], device: torch.device
) -> Draw:
    """Return what draws the noise of a block, image by image from the stream (key, image).

    A GPU draws on its own, from other numbers than the CPU, which would keep it waiting.

    Args:
        members: numbers of the images, of one block.
        key: names the streams.
    """
    places = _places(model, members)
    if device.type != "cuda":
        streams = [stream(*key, member) for member in members]
        return partial(numpy_normal, streams, places, (model.block, *model.shape), device)
    words = torch.zeros(model.block, dtype=torch.int64)
    words[places] = torch.tensor([stream_seed(*key, member) for member in members])
    return _device_draw(model, to_device(words, device))


def _device_draw(model: Ddpm, keys: Tensor) -> Draw:
    together = max(1, DRAWN // (len(keys) * math.prod(model.shape)))
    numbers = torch.arange(together, device=keys.device)
    normal, drawn = model.normal(), deque[Tensor]()

    def draw() -> Tensor:
        if not drawn:
            drawn.extend(normal(keys, numbers).clone().unbind())
            numbers.add_(together)
        return drawn.popleft()

    return draw


def _blocks(members: Sequence[int], size: int) -> list[list[int]]:
    """Divide members into those that share a block, in their order."""
    return [list(block) for _, block in groupby(members, lambda member: member // size)]


def _places(model: Ddpm, members: Sequence[int]) -> list[int]:
    return [member % model.block for member in members]


def _pixels(model: Ddpm, images: Tensor, members: Sequence[int]) -> np.ndarray:
    """Return the wanted images of a block, uint8 (n,H,W,C)."""
    return model.to_pixels(images)[_places(model, members)].cpu().numpy()
