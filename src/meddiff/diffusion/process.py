"""Forward processes: how images become noise (Karras et al. 2022, table 1, rows and columns).

An image x(0) is x(t) = alpha(t) x(0) + sigma(t) epsilon at time t. Nets see it divided by
sqrt(alpha^2 + sigma^2), as y = signal x(0) + noise epsilon with signal^2 + noise^2 = 1, whatever
the process: so one training, one denoiser and the samplers of DDPMs serve all of them. A process
is then its ratio sigma / alpha by time, which times are drawn, and what a net is given of them.
"""

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meddiff.core.errors import MeddiffError
from meddiff.core.imports import lean_imports
from meddiff.diffusion.sampling.settings import Spacing
from meddiff.diffusion.settings import ProcessName, ScheduleSettings

CONDITION = 999.0
"""Times of continuous processes go into nets as 0 to 999: embeddings are made for such."""
EARLIEST = 1e-3
"""First time of `vp` and `sub_vp`, before which there is next to no noise (Song et al. 2021)."""


class Process(ABC):
    """What a training and a sampler see of a forward process.

    Attributes:
        name: as `diffusion.schedule.process` has it.
        prediction_type: what the net predicts: "epsilon", "v_prediction" or "sample" (x(0)).
        levels: number of times, where they are counted; None where they are continuous.
    """

    name: ProcessName
    prediction_type: str
    levels: int | None

    @abstractmethod
    def log_ratio(self, times: Tensor) -> Tensor:
        """Return ln(sigma / alpha), rising, at times (N,), in their precision."""

    @abstractmethod
    def time_of(self, log_ratio: float) -> float:
        """Return the time of ln(sigma / alpha), between levels too."""

    @abstractmethod
    def at(self, share: float) -> float:
        """Return a time, from the least noise at 0 to the most at 1."""

    @abstractmethod
    def draw_times(self, count: int, generator: torch.Generator) -> Tensor:
        """Return times (count,) to learn from, drawn uniformly."""

    def mix(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """Return signal and noise at times (N,), float32 (N,1,1,1)."""
        twice = 2 * self.log_ratio(times).reshape(-1, 1, 1, 1)
        return torch.sigmoid(-twice).sqrt(), torch.sigmoid(twice).sqrt()

    def parts(self, time: float) -> tuple[float, float]:
        """Return signal and noise at one time, to the precision of floats."""
        twice = 2 * self._log_ratio(time)
        return math.sqrt(_sigmoid(-twice)), math.sqrt(_sigmoid(twice))

    def angle(self, time: float) -> float:
        """Return arctan(sigma / alpha)."""
        signal, noise = self.parts(time)
        return math.atan2(noise, signal)

    def bar(self, time: float) -> float:
        """Return signal^2, a DDPM's product of alphas."""
        return self.parts(time)[0] ** 2

    def alpha(self, time: float) -> float:
        """Return the mean scale of x."""
        return self.parts(time)[0]

    def scales(self, time: float) -> tuple[float, float]:
        """Return alpha and sigma."""
        signal, noise = self.parts(time)
        return self.alpha(time), self.alpha(time) * noise / signal

    def condition(self, times: Tensor) -> Tensor:
        """Return what a net is given of times (N,)."""
        return CONDITION * times

    def sde(self, time: float) -> tuple[float, float]:
        """Return f and g^2 of dx = f x dt + g dw.

        Raises:
            MeddiffError: the process is none of continuous time.
        """
        raise MeddiffError(
            f"diffusion.schedule.process {self.name} has no differential equation: take ve, vp or "
            "sub_vp, or another sampler"
        )

    def visited(self, steps: int, spacing: Spacing) -> list[float]:
        """Return falling times for a sampler, at most `levels`, from the most noise to the least.

        `quadratic` times lie the closer together the less noise there is.
        """
        if self.levels is None:
            power = 2 if spacing == "quadratic" else 1
            return [self.at(share) for share in np.linspace(1, 0, steps) ** power]
        return [
            self.at(level / max(1, self.levels - 1))
            for level in respaced_times(self.levels, steps, spacing)
        ]

    def to(self, device: torch.device) -> None:  # noqa: B027
        """Put what is looked up on a device, so that no step copies it there."""

    def _log_ratio(self, time: float) -> float:
        return float(self.log_ratio(torch.tensor([time], dtype=torch.float64)))


class DdpmProcess(Process):
    """The discrete process of Ho et al. 2020, by its products of alphas, (T,), falling."""

    name = "ddpm"

    def __init__(self, alphas_cumprod: Tensor, prediction: str) -> None:
        self.prediction_type, self.levels = prediction, len(alphas_cumprod)
        self.alphas_cumprod = alphas_cumprod
        # On the CPU, since not every device has float64, and reading from a GPU makes it wait.
        self._bars = alphas_cumprod.cpu().double()
        self._log_ratios = (torch.log1p(-self._bars) - self._bars.log()) / 2

    def mix(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """Return signal and noise at times (N,), float32 (N,1,1,1)."""
        bars = self.alphas_cumprod[times].reshape(-1, 1, 1, 1)
        return bars.sqrt(), (1 - bars).sqrt()

    def parts(self, time: float) -> tuple[float, float]:
        """Return signal and noise at one time."""
        if not isinstance(time, int):
            return super().parts(time)
        return math.sqrt(self.bar(time)), math.sqrt(1 - self.bar(time))

    def bar(self, time: float) -> float:
        """Return the product of alphas."""
        return self._bars[time].item() if isinstance(time, int) else super().bar(time)

    def log_ratio(self, times: Tensor) -> Tensor:
        """Return ln(sigma / alpha) at times (N,), between levels on straight lines."""
        table = self._log_ratios
        below = times.long().clamp(0, len(table) - 1)
        above = (below + 1).clamp(max=len(table) - 1)
        return torch.lerp(table[below], table[above], times.double() - below)

    def time_of(self, log_ratio: float) -> float:
        """Return the time of ln(sigma / alpha), between levels on straight lines."""
        return float(np.interp(log_ratio, self._log_ratios.numpy(), np.arange(len(self._bars))))

    def at(self, share: float) -> int:
        """Return a time, from the least noise at 0 to the most at 1."""
        return round(share * (len(self._bars) - 1))

    def draw_times(self, count: int, generator: torch.Generator) -> Tensor:
        """Return times, int64 (count,), drawn uniformly."""
        device = generator.device
        return torch.randint(len(self._bars), (count,), generator=generator, device=device)

    def condition(self, times: Tensor) -> Tensor:
        """Return what a net is given of times: themselves."""
        return times

    def to(self, device: torch.device) -> None:
        """Put the products of alphas on a device."""
        self.alphas_cumprod = self.alphas_cumprod.to(device)


class _Exploding(Process):
    """Variance explodes: alpha = 1, and sigma grows geometrically from `sigma_min` to `sigma_max`.

    Times are in [0, 1]. Nets are given t, which is ln(sigma) but for scale and origin. With levels
    it is the process of noise-conditioned score networks (NCSN, Song and Ermon 2019), else `ve` of
    Song et al. 2021.
    """

    def __init__(self, settings: ScheduleSettings) -> None:
        self.name, self.levels = settings.process, settings.levels
        self.prediction_type = settings.prediction
        self._start = math.log(settings.sigma_min)
        self._growth = math.log(settings.sigma_max) - self._start

    def log_ratio(self, times: Tensor) -> Tensor:
        return self._start + self._growth * times

    def time_of(self, log_ratio: float) -> float:
        return (log_ratio - self._start) / self._growth

    def at(self, share: float) -> float:
        if self.levels is None:
            return float(share)
        most = max(1, self.levels - 1)
        return round(share * most) / most

    def draw_times(self, count: int, generator: torch.Generator) -> Tensor:
        device = generator.device
        if self.levels is None:
            return torch.rand(count, generator=generator, device=device)
        drawn = torch.randint(self.levels, (count,), generator=generator, device=device)
        return drawn / max(1, self.levels - 1)

    def alpha(self, time: float) -> float:
        return 1.0

    def sde(self, time: float) -> tuple[float, float]:
        return 0.0, 2 * self._growth * math.exp(2 * self._log_ratio(time))


class _Preserving(Process):
    """The limit of a DDPM of linear betas (`vp`), and `sub_vp` with less noise: Song et al. 2021.

    Times are from `EARLIEST` to 1. d ln(alpha) / dt = -beta(t) / 2, where beta grows linearly from
    T `beta_start` to T `beta_end`; sigma^2 is 1 - alpha^2, and (1 - alpha^2)^2 of `sub_vp`.
    """

    def __init__(self, settings: ScheduleSettings) -> None:
        self.name, self.levels = settings.process, None
        self.prediction_type = settings.prediction
        self._first = settings.timesteps * settings.beta_start
        self._rise = settings.timesteps * settings.beta_end - self._first
        self._power = 1.0 if settings.process == "sub_vp" else 0.5

    def log_ratio(self, times: Tensor) -> Tensor:
        log_alpha = -times * (self._first / 2 + self._rise / 4 * times)
        return self._power * torch.log(-torch.expm1(2 * log_alpha)) - log_alpha

    def time_of(self, log_ratio: float) -> float:
        ratio = math.exp(log_ratio)
        # The integral of beta, -2 ln(alpha); of sub_vp alpha solves alpha^2 + ratio alpha = 1.
        total = 2 * math.asinh(ratio / 2) if self._power == 1 else math.log1p(ratio**2)
        # The stable form of the root of rise t^2 / 2 + first t = total.
        return 2 * total / (self._first + math.sqrt(self._first**2 + 2 * self._rise * total))

    def at(self, share: float) -> float:
        return EARLIEST + (1 - EARLIEST) * float(share)

    def draw_times(self, count: int, generator: torch.Generator) -> Tensor:
        drawn = torch.rand(count, generator=generator, device=generator.device)
        return EARLIEST + (1 - EARLIEST) * drawn

    def alpha(self, time: float) -> float:
        return math.exp(-time * (self._first / 2 + self._rise / 4 * time))

    def sde(self, time: float) -> tuple[float, float]:
        beta = self._first + self._rise * time
        return -beta / 2, beta * (1 - self.alpha(time) ** 4 if self._power == 1 else 1)


def build_process(settings: ScheduleSettings) -> Process:
    """Return the forward process of settings."""
    if settings.process == "ddpm":
        return DdpmProcess(monai_products(settings), settings.prediction)
    return (_Exploding if settings.process in ("ncsn", "ve") else _Preserving)(settings)


def monai_products(settings: ScheduleSettings) -> Tensor:
    """Return the products of alphas of MONAI's DDPM scheduler, float32 (T,).

    Its `linear` is of Ho et al. 2020, section 4, its `cosine` of Nichol and Dhariwal 2021, eq. 17.
    """
    with lean_imports():
        from monai.networks.schedulers import DDPMScheduler

    bounds: dict[str, Any] = settings.model_dump(include={"beta_start", "beta_end"})
    products: Tensor = DDPMScheduler(
        num_train_timesteps=settings.timesteps,
        schedule={"linear": "linear_beta", "cosine": "cosine"}[settings.betas],
        **(bounds if settings.betas == "linear" else {}),
    ).alphas_cumprod
    return products


def respaced_times(timesteps: int, steps: int, spacing: Spacing = "even") -> list[int]:
    """Return `steps` <= T different times from T-1 down to 0 (Song et al. 2021, appendix D.2)."""
    power = 2 if spacing == "quadratic" else 1
    times = (timesteps - 1) * np.linspace(1, 0, steps) ** power
    # Near the end quadratic times come closer than one another.
    return np.maximum(times.round().astype(int), np.arange(steps)[::-1]).tolist()


def _sigmoid(value: float) -> float:
    # exp of a large number overflows.
    return 1 / (1 + math.exp(-value)) if value > 0 else math.exp(value) / (1 + math.exp(value))
