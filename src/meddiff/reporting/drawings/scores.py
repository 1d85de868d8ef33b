"""Scores of a toy in two dimensions: fitted to noisy points, beside the exact ones; its paths."""

import math
from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from meddiff.core.randomness import stream_seed
from meddiff.diffusion.process import Process
from meddiff.diffusion.sampling.flow import heun
from meddiff.diffusion.sampling.samplers import Denoise
from meddiff.diffusion.sampling.score_samplers import reverse_sde

CENTRES = torch.tensor([[-1.0, -0.6], [1.0, -0.6], [0.0, 1.0]])
"""Of the toy's three equal normal distributions."""
SPREAD = 0.18
SIGNALS = (0.97, 0.8, 0.4)
"""What is left of the data at the times of which scores are shown."""
STEPS = 1500
BATCH = 256
REACH = 2.0
PATHS = 16
PATH_STEPS = 120

Array = NDArray[np.float64]
OfPoints = Callable[[Tensor, float], Tensor]
"""From noisy points (N,1,1,2) and their time to an estimate of the clean ones."""


def exact_denoiser(process: Process) -> OfPoints:
    """Return the conditional mean of clean points, in closed form.

    Takes y = signal x(0) + noise epsilon, (N,1,1,2), and a time, as denoisers of images do.
    """

    def denoise(noisy: Tensor, time: float) -> Tensor:
        signal, noise = process.parts(time)
        points = noisy.reshape(-1, 1, 2)
        centres = CENTRES.to(points.dtype)
        variance = (signal * SPREAD) ** 2 + noise**2
        apart = points - signal * centres
        shares = torch.softmax(-(apart**2).sum(-1) / (2 * variance), dim=1)[..., None]
        means = centres + signal * SPREAD**2 / variance * apart
        return (shares * means).sum(1).reshape(noisy.shape)

    return denoise


def fitted_denoiser(process: Process, *, seed: int) -> OfPoints:
    """Fit a small net to noisy points by denoising score matching (Vincent 2011)."""
    torch.manual_seed(stream_seed(seed, "drawing", "toy") % 2**32)
    network = nn.Sequential(
        nn.Linear(4, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 2)
    )
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    angles = torch.tensor(
        [math.atan2(*process.parts(process.at(s))[::-1]) for s in np.linspace(0, 1, 400)]
    )
    for _ in range(STEPS):
        chosen = torch.randint(len(CENTRES), (BATCH,))
        clean = CENTRES[chosen] + SPREAD * torch.randn(BATCH, 2)
        angle = angles[torch.randint(len(angles), (BATCH,))][:, None]
        noise = torch.randn(BATCH, 2)
        noisy = angle.cos() * clean + angle.sin() * noise
        velocity = network(_inputs(noisy, angle))
        loss = nn.functional.mse_loss(velocity, angle.cos() * noise - angle.sin() * clean)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rates.step()

    @torch.no_grad()
    def denoise(noisy: Tensor, time: float) -> Tensor:
        signal, noise = process.parts(time)
        points = noisy.reshape(-1, 2).float()
        angle = torch.full((len(points), 1), math.atan2(noise, signal))
        clean = signal * points - noise * network(_inputs(points, angle))
        return clean.to(noisy.dtype).reshape(noisy.shape)

    return denoise


def _inputs(points: Tensor, angle: Tensor) -> Tensor:
    return torch.cat([points, angle.cos(), angle.sin()], dim=1)


def score_field(denoise: OfPoints, process: Process, time: float, points: Tensor) -> Array:
    """Return the score of what nets see at points (n,2): (signal D - y) / noise^2."""
    signal, noise = process.parts(time)
    clean = denoise(points.reshape(-1, 1, 1, 2), time).reshape(-1, 2)
    field: Array = ((signal * clean - points) / noise**2).double().numpy()
    return field


def score_figure(process: Process, *, seed: int) -> Figure:
    """Draw fitted and exact scores as arrows at three noise levels, over noisy points."""
    fitted, exact = fitted_denoiser(process, seed=seed), exact_denoiser(process)
    grid = np.linspace(-REACH, REACH, 15)
    points = torch.tensor(np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2), dtype=torch.float32)
    figure = Figure(figsize=(10, 3.9), layout="compressed")
    generator = torch.Generator().manual_seed(stream_seed(seed, "drawing", "scores"))
    for axis, share in zip(figure.subplots(1, len(SIGNALS)), SIGNALS, strict=True):
        time = process.time_of(math.log(math.sqrt(1 - share**2) / share))
        signal, noise = process.parts(time)
        clean = CENTRES.repeat(60, 1) + SPREAD * torch.randn(180, 2, generator=generator)
        noisy = signal * clean + noise * torch.randn(180, 2, generator=generator)
        axis.plot(*noisy.T, ".", color="#d98c40", markersize=4, zorder=0)
        for denoise, colour in ((exact, "#9aa4ae"), (fitted, "#1f5fa8")):
            field = score_field(denoise, process, time, points)
            # Arrows show directions; long ones would hide the rest.
            length = np.linalg.norm(field, axis=1, keepdims=True)
            field = field * np.tanh(noise * length / 3) / np.maximum(length, 1e-9)
            axis.quiver(*points.T, *field.T, color=colour, angles="xy", scale=9, width=0.005)
        axis.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), xticks=[], yticks=[], aspect="equal")
        axis.set_title(f"t = {time:.4g}, signal {signal:.2f}", fontsize=10)
    figure.supxlabel("fitted scores in blue, exact ones in grey, noisy points", fontsize=9)
    return figure


def paths_figure(process: Process, *, seed: int) -> Figure:
    """Draw points on their way from noise to data: with the reverse SDE, and without noise."""
    denoise = cast(Denoise, fitted_denoiser(process, seed=seed))
    generator = torch.Generator().manual_seed(stream_seed(seed, "drawing", "paths"))
    start = torch.randn(PATHS, 1, 1, 2, generator=generator)
    times = process.visited(PATH_STEPS, "even")

    def draw() -> Tensor:
        return torch.randn(start.shape, generator=generator)

    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    methods = (
        ("reverse SDE", reverse_sde(denoise, start, process, times, draw)),
        ("probability-flow ODE", heun(denoise, start, process, times, draw)),
    )
    for axis, (title, states) in zip(axes, methods, strict=True):
        path = np.stack([start.reshape(-1, 2), *(each.reshape(-1, 2).numpy() for each in states)])
        for number in range(path.shape[1]):
            axis.plot(*path[:, number].T, color="#1f5fa8", linewidth=0.6, alpha=0.45)
        axis.plot(*path[0].T, ".", color="#b45309", label="noise")
        axis.plot(*path[-1].T, "o", color="#19703a", markersize=4, label="samples")
        axis.set(title=title, xticks=[], yticks=[], aspect="equal", xlim=(-2.6, 2.6),
                 ylim=(-2.6, 2.6))  # fmt: skip
    axes[0].legend(loc="lower left", fontsize=9)
    return figure
