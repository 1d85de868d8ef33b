"""Training of one DDPM (Ho et al. 2020, algorithm 1)."""

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from monai.networks.schedulers import DDPMScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from meddiff.batches import Batch, batches, check_finite, count_steps
from meddiff.diffusion.augmentation import augment, resolve_augmentation
from meddiff.diffusion.model import build_network, build_schedule, to_model_range, to_unit_range
from meddiff.diffusion.settings import Diffusion
from meddiff.progress import Progress
from meddiff.randomness import stream_seed

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedDdpm:
    """Weights to sample from, and the history with one row an epoch."""

    weights: dict[str, Tensor]
    history: pd.DataFrame


def train_ddpm(
    images: np.ndarray,
    settings: Diffusion,
    *,
    seed: int,
    name: str,
    validation: np.ndarray | None = None,
    device: str = "cpu",
) -> TrainedDdpm:
    """Train a DDPM on the images of one class.

    Args:
        images: uint8 (N,H,W,C).
        settings: settings of this class.
        seed: fixes initial weights, image order, augmentation, time steps and noise.
        name: what is trained, for progress and errors.
        validation: uint8 (M,H,W,C) for the validation loss, or None. They are never augmented, so
            that their losses compare; the study's were, once (section 5.1).
        device: torch device.

    Returns:
        The weights (their moving average where the settings ask for one) and a history with the
        columns step, epoch, loss, validation_loss, lr.

    Raises:
        MeddiffError: the loss is no longer finite.
    """
    trainer = _Trainer(images, settings, seed, name, device)
    held_out = None if validation is None else trainer.as_pixels(validation)
    rows: list[dict[str, float]] = []
    losses: list[float] = []
    started, seen = time.monotonic(), 0
    with Progress(trainer.steps, trainer.name) as progress:
        for batch in trainer.batches():
            lr = trainer.lr
            losses.append(trainer.step(batch))
            seen += len(batch.members)
            progress.advance(loss=losses[-1], lr=lr)
            if not batch.ends_epoch:
                continue
            due = batch.epoch % settings.validation_every == 0 or batch.step == trainer.steps
            checked = math.nan
            if held_out is not None and due:
                checked = trainer.validation_loss(held_out)
            rows.append(
                {
                    "step": batch.step,
                    "epoch": batch.epoch,
                    "loss": float(np.mean(losses)),
                    "validation_loss": checked,
                    "lr": lr,
                }
            )
            trainer.end_epoch(rows[-1]["loss"])
            losses = []
    # A log is the place for speed: a history with it would never come out the same twice.
    log.info("%s: %.1f images/s", trainer.name, seen / (time.monotonic() - started))
    return TrainedDdpm(trainer.weights(), pd.DataFrame(rows))


def draw_times_and_noise(shape: tuple[int, ...], timesteps: int, key: int) -> tuple[Tensor, Tensor]:
    """Return a time (N,) and standard normal noise (N,C,H,W) for each image, from a seed alone."""
    generator = torch.Generator().manual_seed(key)
    times = torch.randint(timesteps, shape[:1], generator=generator)
    return times, torch.randn(shape, generator=generator)


def denoising_loss(
    network: nn.Module, schedule: DDPMScheduler, clean: Tensor, times: Tensor, noise: Tensor
) -> Tensor:
    """Mean squared error of the net's prediction (Ho et al. 2020, eq. 14).

    Args:
        network: takes noisy images (N,C,H,W) and times (N,).
        schedule: its `prediction_type` says whether the target is the noise or the velocity
            (Salimans and Ho 2022, appendix D).
        clean: float (N,C,H,W) in the net's range.
        times: int (N,) in [0, T).
        noise: standard normal (N,C,H,W).
    """
    noisy = schedule.add_noise(original_samples=clean, noise=noise, timesteps=times)
    noisy = noisy.contiguous(memory_format=torch.channels_last)
    target = noise
    if schedule.prediction_type == "v_prediction":
        target = schedule.get_velocity(sample=clean, noise=noise, timesteps=times)
    return nn.functional.mse_loss(network(noisy, timesteps=times), target)


class _Trainer:
    """The moving parts of one training: net, optimiser, rates and average."""

    def __init__(
        self, images: np.ndarray, settings: Diffusion, seed: int, name: str, device: str
    ) -> None:
        self.name = f"ddpm {name}"
        self._settings, self._seed, self._device = settings, seed, device
        torch.manual_seed(stream_seed(seed, "weights", self.name))
        network = build_network(images.shape[-1], **settings.network.model_dump())
        self._network = network.to(device).to(memory_format=torch.channels_last)
        self._schedule = build_schedule(**settings.noise.model_dump(exclude={"zero_centred"}))
        self._pixels = self.as_pixels(images)
        self._augmentation = resolve_augmentation(settings.augmentation)
        self._group = settings.batch_size * settings.accumulate
        self.steps = count_steps(settings, len(images), self._group)
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimizer]
        self._optimizer: Optimizer = kind(self._network.parameters(), lr=settings.lr)
        self._step_lr, self._epoch_lr = _lr_schedules(self._optimizer, settings, self.steps)
        self._average = (
            AveragedModel(self._network, multi_avg_fn=get_ema_multi_avg_fn(settings.ema))
            if settings.ema
            else None
        )
        log.info(
            "%s: %d images of %d px, %.2f M parameters, %d steps of %d images on %s",
            self.name,
            len(images),
            images.shape[1],
            sum(p.numel() for p in network.parameters()) / 1e6,
            self.steps,
            self._group,
            device,
        )

    @property
    def lr(self) -> float:
        return float(self._optimizer.param_groups[0]["lr"])

    def as_pixels(self, images: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(images)).to(self._device)

    def batches(self) -> Iterator[Batch]:
        return batches(len(self._pixels), self._group, self.steps, self._seed, "order", self.name)

    def step(self, batch: Batch) -> float:
        """Take one optimiser step; gradients add up over its parts, weighted by their size."""
        self._network.train()
        self._optimizer.zero_grad(set_to_none=True)
        total = 0.0
        clean = self._training_images(batch)
        key = stream_seed(self._seed, "noise", self.name, batch.step)
        for part, loss in self._losses(self._network, clean, self._settings.batch_size, key):
            share = loss * (part / len(clean))
            share.backward()
            total += share.item()
        check_finite(total, self.name, batch, self.steps, self.lr, "diffusion.lr")
        self._optimizer.step()
        if self._step_lr:
            self._step_lr.step()
        if self._average:
            self._average.update_parameters(self._network)
        return total

    def end_epoch(self, loss: float) -> None:
        if self._epoch_lr:
            self._epoch_lr.step(loss)

    @torch.no_grad()
    def validation_loss(self, pixels: Tensor) -> float:
        """Loss of the weights that are sampled from, with the same times and noise every time."""
        key = stream_seed(self._seed, "validation", self.name)
        network = self._sampled.eval()
        clean = to_model_range(to_unit_range(pixels), self._settings.noise.zero_centred)
        losses = self._losses(network, clean, 64, key)
        return sum(loss.item() * part for part, loss in losses) / len(pixels)

    def weights(self) -> dict[str, Tensor]:
        return dict(self._sampled.state_dict())

    @property
    def _sampled(self) -> nn.Module:
        return self._average.module if self._average else self._network

    def _training_images(self, batch: Batch) -> Tensor:
        """Return a batch's images in the net's range, augmented as their rows and epoch say."""
        members = self._pixels[torch.from_numpy(batch.members).to(self._device)]
        key = (self._seed, "augmentation", self.name, batch.epoch)
        unit = augment(to_unit_range(members), batch.members, self._augmentation, *key)
        return to_model_range(unit, self._settings.noise.zero_centred)

    def _losses(
        self, network: nn.Module, clean: Tensor, size: int, key: int
    ) -> Iterator[tuple[int, Tensor]]:
        """Yield the number of images and the loss of each part; `size` changes no draw."""
        drawn = draw_times_and_noise(tuple(clean.shape), self._schedule.num_train_timesteps, key)
        times, noise = (tensor.to(self._device) for tensor in drawn)
        for part in zip(clean.split(size), times.split(size), noise.split(size), strict=True):
            yield len(part[0]), denoising_loss(network, self._schedule, *part)


def _lr_schedules(
    optimizer: Optimizer, settings: Diffusion, steps: int
) -> tuple[LambdaLR | None, ReduceLROnPlateau | None]:
    """Return the schedule that advances by step and the one that advances by epoch, if any."""
    if settings.lr_schedule == "plateau":
        return None, ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    if settings.lr_schedule == "constant":
        return None, None
    warm = max(1, steps // 20) if settings.lr_schedule == "warmup_linear" else 0
    end = settings.lr_end / settings.lr

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 1 + (end - 1) * (step - warm) / max(1, steps - warm)

    return LambdaLR(optimizer, factor), None
