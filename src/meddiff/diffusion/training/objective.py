"""What a denoising net learns: noisy images, their targets, and the weight of each."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from meddiff.diffusion.process import DdpmProcess, Process


def draw_times_and_noise(
    shape: tuple[int, ...], process: Process, key: int, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Return a time (N,) and standard normal noise (N,C,H,W) for each image, from a seed alone.

    A GPU draws its own, which saves it waiting for the CPU; the CPU draws for all others.

    Args:
        shape: (N, C, H, W).
        key: seed, in [0, 2^63).
    """
    source = device if torch.device(device).type == "cuda" else "cpu"
    generator = torch.Generator(source).manual_seed(key)
    times = process.draw_times(shape[0], generator)
    noise = torch.randn(shape, generator=generator, device=source)
    return times.to(device), noise.to(device)


def denoising_loss(
    network: Callable[..., Tensor],
    process: Process,
    clean: Tensor,
    times: Tensor,
    noise: Tensor,
    *,
    weigh: Callable[[Tensor], Tensor] | None = None,
    **condition: Tensor,
) -> Tensor:
    """Mean squared error of the net's prediction, float32 () (Ho et al. 2020, eq. 14).

    That of the noise is denoising score matching with each noise level's variance as its weight
    (Song and Ermon 2019, eq. 5 and 6), since the score is -noise / sigma.

    Args:
        network: takes noisy images (N,C,H,W) and what it is given of their times (N,).
        process: its `prediction_type` says whether the target is the noise, the velocity (Salimans
            and Ho 2022, appendix D) or the clean image.
        clean: float (N,C,H,W) in the net's range.
        times: (N,), of the process.
        noise: standard normal (N,C,H,W).
        weigh: gives weights (N,) of times, as of `min_snr_weights`; None weighs all alike.
        condition: what else the net is given of each image, (N,...) by name.
    """
    signal, spread = process.mix(times)
    noisy = (signal * clean + spread * noise).contiguous(memory_format=torch.channels_last)
    predicted = network(noisy, timesteps=process.condition(times), **condition)
    target = {
        "epsilon": lambda: noise,
        "sample": lambda: clean,
        "v_prediction": lambda: signal * noise - spread * clean,
    }[process.prediction_type]()
    if weigh is None:
        return nn.functional.mse_loss(predicted, target)
    errors = nn.functional.mse_loss(predicted, target, reduction="none").mean((1, 2, 3))
    return (errors * weigh(times)).mean()


def largest_loss(process: Process, min_snr: float | None = None) -> float:
    """Return the loss of an all-zero prediction, as of an untrained net, at the worst of all times.

    Targets have a mean square of 1 at most.
    """
    if min_snr is None:
        return 1.0
    times = torch.tensor([process.at(share) for share in np.linspace(0, 1, 1000)])
    return float(min_snr_weights(process, min_snr)(times).max())


def min_snr_weights(
    process: Process, gamma: float, device: torch.device | str = "cpu"
) -> Callable[[Tensor], Tensor]:
    """Return what weighs times (N,), in float32, so that none counts for more than its signal.

    As an error of the clean image every weight is min(SNR, gamma) (Hang et al. 2023, section 3.4);
    that of the noise is SNR times as large, that of the velocity SNR + 1 times.
    """

    def weigh(times: Tensor) -> Tensor:
        snr = torch.exp(-2 * process.log_ratio(times))
        scales = {"sample": torch.ones_like(snr), "epsilon": snr, "v_prediction": snr + 1}
        return (snr.clamp(max=gamma) / scales[process.prediction_type]).float()

    if not isinstance(process, DdpmProcess):
        return weigh
    # Looked up, since its times are counted and not every device has float64.
    return weigh(torch.arange(len(process.alphas_cumprod))).to(device).__getitem__
