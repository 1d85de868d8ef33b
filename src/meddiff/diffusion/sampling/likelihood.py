"""The likelihood of images under a trained net, through the probability-flow equation.

Song et al. 2021, section 4.3 and appendix D.2: the density of an image is that of the noise that it
flows to, times the volume that the flow changes on the way.
"""

import hashlib
import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from meddiff.core.devices import memory_errors
from meddiff.core.errors import MeddiffError
from meddiff.core.randomness import stream
from meddiff.diffusion.process import Process
from meddiff.diffusion.sampling.ddpm import Ddpm, check_finite, predict
from meddiff.diffusion.sampling.guidance import conditioned
from meddiff.diffusion.sampling.sample import LACKS_MEMORY

STEPS = 20
"""Steps of Runge and Kutta's method of fourth order, each of four evaluations and gradients."""
BLOCK = 8
"""Images that the net sees at once, always: how many there are changes its rounding."""
SIGNAL = 1e-3
"""Least signal to which a net that predicts noise is followed, see `log_density`."""
Predict = Callable[[Tensor, Tensor], Tensor]
"""From noisy images (N,C,H,W) and what the net is given of their times (N,) to its output."""


def bits_per_dimension(
    model: Ddpm,
    images: np.ndarray,
    *,
    seed: int,
    name: str,
    progress: Callable[[int], None] = lambda done: None,
) -> np.ndarray:
    """Return the negative log-likelihood of images in bits per dimension, at most, float64 (n,).

    Each grey level is taken for the interval of its width around it (uniform dequantisation). The
    density is that of the process at its least noise. An image's value depends on the image, the
    net and the seed alone, for its random numbers are of its own.

    Args:
        images: uint8 (n,H,W,C), of its size.
        seed: fixes places in the intervals and the probe of the trace.
        name: class of the images, of a net of several classes.
        progress: is called with each number of images that are done.

    Raises:
        MeddiffError: the net draws latents, images are of another size, memory does not suffice, or
            the net gives values that are not finite.
    """
    if model.autoencoder is not None:
        raise MeddiffError(
            "bits per dimension are of pixels, and a DDPM of diffusion.latent draws latents: leave "
            "its likelihood out"
        )
    model.check_shape(images)
    low, high = model.pixel_range
    level = (high - low) / 255
    network = conditioned(model.network, model.conditions, name)
    device = next(model.network.parameters()).device
    densities = []
    with memory_errors(LACKS_MEMORY):
        for start in range(0, len(images), BLOCK):
            block = images[start : start + BLOCK]
            clean, probes = np.zeros((2, BLOCK, *model.shape), np.float32)
            for number, image in enumerate(block):
                source = stream(seed, "likelihood", hashlib.sha256(image.tobytes()).hexdigest())
                inside = source.uniform(-0.5, 0.5, model.shape)
                clean[number] = low + level * (image.transpose(2, 0, 1) + inside)
                probes[number] = source.choice([-1, 1], model.shape)
            density = log_density(
                partial(predict, network, "fp32"),
                model.schedule,
                torch.from_numpy(clean).to(device),
                torch.from_numpy(probes).to(device),
            )
            densities.append(density[: len(block)])
            progress(len(block))
    dimensions = math.prod(model.shape)
    bits = -(np.concatenate(densities) / dimensions + math.log(level)) / math.log(2)
    return check_finite(bits)


def log_density(
    predict: Predict, process: Process, clean: Tensor, probes: Tensor, *, steps: int = STEPS
) -> np.ndarray:
    """Return the log-density of images x at the least noise of a process, float64 (N,).

    The equation is solved in s = ln(tan(a / 2)) of the angle a = arctan(sigma / alpha): even steps
    in it are even in ln(sigma) where there is little noise, and in the angle where there is much.

    Of a net that predicts noise the velocity is a quotient by the signal, which grows its errors
    without bound: the variable is ln(tan(a)), in which the equation has no quotient, and images
    are taken for noise where the signal is `SIGNAL`, not only at the end. What they still have in
    common there, their mean times the signal, moves the density by less than 0.002 bits per value.

    Args:
        predict: the net, differentiable.
        clean: float (N,C,H,W) in the net's range.
        probes: of mean 0 and covariance 1, (N,C,H,W): the trace of the velocity's derivative is
            estimated as theirs (Skilling 1989, Hutchinson 1990).
    """
    angles, share = [process.angle(process.at(end)) for end in (0.0, 1.0)], 2
    if process.prediction_type == "epsilon":
        angles[1], share = min(angles[1], math.acos(SIGNAL)), 1
    slopes = partial(_slopes, predict, process, probes, share)
    ends = [math.log(math.tan(angle / share)) for angle in angles]
    step = (ends[1] - ends[0]) / steps
    scale = math.hypot(*process.scales(process.at(0.0)))
    images, dimensions = clean / scale, clean[0].numel()
    grown = np.full(len(clean), -dimensions * math.log(scale))
    for number in range(steps):
        place = ends[0] + number * step
        first = slopes(images, place)
        second = slopes(images + step / 2 * first[0], place + step / 2)
        third = slopes(images + step / 2 * second[0], place + step / 2)
        fourth = slopes(images + step * third[0], place + step)
        change = [a + 2 * b + 2 * c + d for a, b, c, d in zip(first, second, third, fourth)]  # noqa: B905
        images = images + step / 6 * change[0]
        grown += step / 6 * change[1].double().cpu().numpy()
    squares = images.flatten(1).square().sum(1).double().cpu().numpy()
    density: np.ndarray = grown - squares / 2 - dimensions / 2 * math.log(2 * math.pi)
    return density


def _slopes(
    predict: Predict, process: Process, probes: Tensor, share: int, images: Tensor, place: float
) -> tuple[Tensor, Tensor]:
    """Return the derivatives of images (N,C,H,W) and of their log-volume (N,).

    By s = ln(tan(a / share)): da is sin(a) ds with a share of 2, sin(a) cos(a) ds with one of 1.
    """
    angle = share * math.atan(math.exp(place))
    signal, noise = math.cos(angle), math.sin(angle)
    time = process.time_of(math.log(math.tan(angle)))
    times = process.condition(torch.full((len(images),), float(time), device=images.device))
    with torch.enable_grad():
        moving = images.detach().requires_grad_()
        output = predict(moving, times)
        slope = {
            "v_prediction": lambda: output,
            "epsilon": lambda: output - noise * moving,  # the velocity times the signal
            "sample": lambda: (signal * moving - output) / noise,
        }[process.prediction_type]()
        (gradient,) = torch.autograd.grad((slope * probes).sum(), moving)
    trace = (gradient * probes).flatten(1).sum(1)
    return noise * slope.detach(), noise * trace
