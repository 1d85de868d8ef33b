"""Images from a trained DDPM.

Image i depends only on (seed, name, i), bit for bit. Every image has a random stream of its own,
and the net always sees it at the same place of a block of the same size, whatever else is drawn:
how many images a net sees at once changes its rounding.
"""

import logging
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from meddiff.core.checkpoints import NAME_ANOTHER, load_checkpoint
from meddiff.core.devices import (
    arithmetic,
    check_precision,
    compile_network,
    memory_errors,
    to_device,
)
from meddiff.core.errors import MeddiffError
from meddiff.core.file_errors import remedy
from meddiff.core.graphs import Graphed
from meddiff.core.progress import Progress
from meddiff.core.randomness import stream, stream_seed
from meddiff.core.settings import Precision
from meddiff.diffusion.checkpointing import Checkpointer, TrainState
from meddiff.diffusion.model import Schedule, build_network, build_schedule
from meddiff.diffusion.noise import numpy_normal, philox_normal
from meddiff.diffusion.pixels import to_uint8
from meddiff.diffusion.samplers import (
    Denoise,
    Draw,
    SamplerFn,
    ddim,
    ddpm,
    dpm_solver,
    respaced_times,
)
from meddiff.diffusion.settings import DiffusionSettings, SamplerSettings
from meddiff.diffusion.shards import PIXELS, cpu_block

log = logging.getLogger(__name__)

LACKS_MEMORY = (
    "set compute.device to cpu, or give the class a DDPM with fewer diffusion.network.channels"
)


DRAWN = 2**22
"""Normal numbers that a GPU draws at once: for few images, those of many steps."""


@dataclass(frozen=True)
class Ddpm:
    """A trained net and what it takes to draw from it.

    Attributes:
        network: the denoising net.
        schedule: its forward process.
        shape: (C, H, W) of an image.
        pixel_range: lowest and highest value that the net sees, (-1, 1) or (0, 1).
        block: images that the net sees at once, always.
    """

    network: nn.Module
    schedule: Schedule
    shape: tuple[int, int, int]
    pixel_range: Sequence[int]
    block: int
    _graphs: dict[str, Graphed] = field(init=False, repr=False, compare=False, default_factory=dict)

    def predict(self, precision: Precision) -> Graphed:
        """Return the net as a function of noisy images (N,C,H,W) and times (N,)."""
        if precision not in self._graphs:
            forward = partial(predict, self.network, precision)
            self._graphs[precision] = Graphed(forward)
        return self._graphs[precision]

    def normal(self) -> Graphed:
        """Return `philox_normal` of images of this size."""
        if "normal" not in self._graphs:
            self._graphs["normal"] = Graphed(partial(philox_normal, shape=self.shape))
        return self._graphs["normal"]


def block_of(side: int, device: str = "cpu") -> int:
    """Return how many images of side x side px a net sees at once.

    32 on a CPU and 512 on a GPU, fewer above 64 px. It follows from the size of the images and the
    kind of device alone, for it decides on their last bits.
    """
    if device == "cuda":
        return max(1, min(512, 16 * PIXELS // side**2))
    return cpu_block(side)


def load_ddpm(checkpoint: str | Path, device: str = "cpu", *, compiled: bool = False) -> Ddpm:
    """Read a DDPM as `train_ddpm`'s script writes it.

    Args:
        checkpoint: the file.
        device: torch device.
        compiled: compile the net.

    Raises:
        MeddiffError: the file is truncated, or no checkpoint of a DDPM.
    """
    weights, about = load_checkpoint(checkpoint)
    try:
        trained = DiffusionSettings.model_validate(about["settings"])
        network = build_network(about["channels"], **trained.network.model_dump())
        network.load_state_dict(weights)
        shape = (about["channels"], about["size"], about["size"])
    except (KeyError, ValueError, RuntimeError) as error:
        message = " ".join(str(error).split())[:300]
        raise MeddiffError(
            f"{checkpoint} holds no DDPM ({message}): {remedy(checkpoint, NAME_ANOTHER)}"
        ) from error
    network = network.to(device).to(memory_format=torch.channels_last).eval()
    if compiled:
        compile_network(network, device)
    schedule = build_schedule(**trained.schedule.model_dump(exclude={"pixel_range"}))
    return Ddpm(
        network, schedule, shape, trained.schedule.pixel_range, block_of(about["size"], device)
    )


def sample_images(
    model: Ddpm,
    settings: SamplerSettings,
    members: Sequence[int],
    *,
    seed: int,
    name: str,
    checkpointer: Checkpointer | None = None,
) -> np.ndarray:
    """Draw images, uint8 (members,H,W,C), with progress; arguments as for `sample`.

    Args:
        model: what to draw from.
        settings: sampler and steps.
        members: numbers of the images to draw.
        seed: seed of the run.
        name: class.
        checkpointer: keeps what is drawn, so that an interrupted run resumes there.

    Raises:
        MeddiffError: the net gives values that are not finite, or memory does not suffice.
    """
    log.info(
        "%s: %d images, %s, %d steps, %d images at once",
        name,
        len(members),
        settings.sampler,
        settings.steps,
        model.block,
    )
    channels, height, width = model.shape
    saved = checkpointer.load() if checkpointer else None
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
                checkpointer.save(
                    TrainState({"images": torch.from_numpy(np.concatenate(drawn))}, {})
                )
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
    """Return images on their way from noise, evenly spaced in steps, the first and last included.

    Args:
        model: what to draw from.
        settings: sampler and steps.
        members: numbers of the images.
        moments: states to show of each.
        seed: seed of the run.
        name: class.

    Returns:
        uint8 (members,moments,H,W,C).
    """
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
    model: Ddpm,
    settings: SamplerSettings,
    members: Sequence[int],
    *,
    seed: int,
    name: str,
) -> Iterator[np.ndarray]:
    """Yield images, uint8 (n,H,W,C), block by block.

    Args:
        model: what to draw from.
        settings: sampler and steps.
        members: numbers of the images to draw; image i is the same in every call.
        seed: seed of the run.
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
    steps = _method(settings)(
        clean_estimator(model.predict(settings.precision), model.schedule),
        draw(),
        model.schedule.alphas_cumprod.cpu().double().tolist(),
        respaced_times(model.schedule.num_train_timesteps, settings.steps, settings.spacing),
        draw,
    )
    for images in steps:
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
        model: says how large a block and its images are.
        members: numbers of the images, of one block.
        key: names the streams.
        device: where the noise is needed.
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


def predict(network: nn.Module, precision: Precision, noisy: Tensor, times: Tensor) -> Tensor:
    """Return a net's output in float32, calculated in a precision.

    Args:
        network: the denoising net.
        precision: arithmetic of the net.
        noisy: float (N,C,H,W).
        times: int (N,).
    """
    with arithmetic(noisy.device.type, precision):
        output: Tensor = network(
            noisy.contiguous(memory_format=torch.channels_last), timesteps=times
        )
    return output.float()


def clean_estimator(predict: Callable[[Tensor, Tensor], Tensor], schedule: Schedule) -> Denoise:
    """Return an estimate of the clean images, clipped to [-1, 1] as MONAI does.

    Args:
        predict: the net's output for noisy images (N,C,H,W) and times (N,), float32.
        schedule: its forward process.
    """
    bars = schedule.alphas_cumprod.cpu().double()

    def denoise(noisy: Tensor, time: int) -> Tensor:
        signal, noise = bars[time].sqrt().item(), (1 - bars[time]).sqrt().item()
        times = torch.full((len(noisy),), time, device=noisy.device)
        output = predict(noisy, times)
        if schedule.prediction_type == "v_prediction":
            output = signal * noisy - noise * output
        elif schedule.prediction_type == "epsilon":
            output = (noisy - noise * output) / signal
        # Clipping would hide what is infinite.
        return torch.where(output.isfinite(), output.clamp(-1, 1), torch.nan)

    return denoise


def _method(settings: SamplerSettings) -> SamplerFn:
    methods: dict[str, Callable[..., Iterator[Tensor]]] = {
        "ddpm": partial(ddpm, variance=settings.variance),
        "ddim": partial(ddim, eta=settings.eta),
        "dpm_solver": dpm_solver,
        "sde_dpm_solver": partial(dpm_solver, eta=1.0),
    }
    return methods[settings.sampler]


def _blocks(members: Sequence[int], size: int) -> list[list[int]]:
    """Divide members into those that share a block, in their order."""
    return [list(block) for _, block in groupby(members, lambda member: member // size)]


def _places(model: Ddpm, members: Sequence[int]) -> list[int]:
    return [member % model.block for member in members]


def _pixels(model: Ddpm, images: Tensor, members: Sequence[int]) -> np.ndarray:
    """Return the wanted images of a block, uint8 (n,H,W,C)."""
    return to_uint8(images[_places(model, members)], model.pixel_range).cpu().numpy()
