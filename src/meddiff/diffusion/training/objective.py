"""What a denoising net learns: noisy images, their targets, and the weight of each."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from meddiff.diffusion.model import Schedule


def draw_times_and_noise(
    shape: tuple[int, ...], timesteps: int, key: int, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Return a time (N,) and standard normal noise (N,C,H,W) for each image, from a seed alone.

    A GPU draws its own, which saves it waiting for the CPU; the CPU draws for all others.

    Args:
        shape: (N, C, H, W).
        timesteps: T of the schedule.
        key: seed, in [0, 2^63).
        device: where they go.
    """
    source = device if torch.device(device).type == "cuda" else "cpu"
    generator = torch.Generator(source).manual_seed(key)
    times = torch.randint(timesteps, shape[:1], generator=generator, device=source)
    noise = torch.randn(shape, generator=generator, device=source)
    return times.to(device), noise.to(device)


def denoising_loss(
    network: Callable[..., Tensor],
    schedule: Schedule,
    clean: Tensor,
    times: Tensor,
    noise: Tensor,
    *,
    weights: Tensor | None = None,
) -> Tensor:
    """Mean squared error of the net's prediction (Ho et al. 2020, eq. 14).

    Args:
        network: takes noisy images (N,C,H,W) and times (N,).
        schedule: its `prediction_type` says whether the target is the noise, the velocity (Salimans
            and Ho 2022, appendix D) or the clean image.
        clean: float (N,C,H,W) in the net's range.
        times: int (N,) in [0, T).
        noise: standard normal (N,C,H,W).
        weights: of each time (T,), as `min_snr_weights` gives them; None weighs all alike.

    Returns:
        float32 ().
    """
    noisy = schedule.add_noise(original_samples=clean, noise=noise, timesteps=times)
    noisy = noisy.contiguous(memory_format=torch.channels_last)
    predicted = network(noisy, timesteps=times)
    target = _target(schedule, clean, times, noise)
    if weights is None:
        return nn.functional.mse_loss(predicted, target)
    errors = nn.functional.mse_loss(predicted, target, reduction="none").mean((1, 2, 3))
    return (errors * weights[times]).mean()


def largest_loss(schedule: Schedule, min_snr: float | None = None) -> float:
    """Return the loss of an all-zero prediction, as of an untrained net, at the worst of all times.

    Targets have a mean square of 1 at most.
    """
    return 1.0 if min_snr is None else float(min_snr_weights(schedule, min_snr).max())


def min_snr_weights(schedule: Schedule, gamma: float) -> Tensor:
    """Return the weight of each time, so that none counts for more than its signal is worth.

    As an error of the clean image every weight is min(SNR, gamma) (Hang et al. 2023, section 3.4);
    that of the noise is SNR times as large, that of the velocity SNR + 1 times.

    Args:
        schedule: forward process with `alphas_cumprod` (T,).
        gamma: largest weight, 5 in the paper.

    Returns:
        float32 (T,) on the CPU.
    """
    # On the CPU, since not every device has float64.
    bars = schedule.alphas_cumprod.cpu().double()
    snr = bars / (1 - bars)
    scales = {"sample": torch.ones_like(snr), "epsilon": snr, "v_prediction": snr + 1}
    return (snr.clamp(max=gamma) / scales[schedule.prediction_type]).float()


def _target(schedule: Schedule, clean: Tensor, times: Tensor, noise: Tensor) -> Tensor:
    if schedule.prediction_type == "v_prediction":
        velocity: Tensor = schedule.get_velocity(sample=clean, noise=noise, timesteps=times)
        return velocity
    return clean if schedule.prediction_type == "sample" else noise
