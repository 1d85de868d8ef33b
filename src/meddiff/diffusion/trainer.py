"""The moving parts of a DDPM's training: net, optimiser, rates, average and history."""

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from meddiff.core.batches import Batch, batches, count_steps
from meddiff.core.errors import MeddiffError
from meddiff.core.randomness import stream_seed
from meddiff.diffusion.augmentation import augment, augment_once, resolve_augmentation
from meddiff.diffusion.checkpointing import TrainState
from meddiff.diffusion.distributed import Runtime
from meddiff.diffusion.history import COLUMNS, History
from meddiff.diffusion.model import build_network, build_schedule
from meddiff.diffusion.objective import denoising_loss, draw_times_and_noise, largest_loss
from meddiff.diffusion.pixels import to_model_range, to_unit_range
from meddiff.diffusion.previews import draw_previews
from meddiff.diffusion.settings import AugmentationSettings, DiffusionSettings

log = logging.getLogger(__name__)

EXPLODED = 10
"""A training has gone wrong when its loss is so many times the largest of an untrained net."""


class Diverged(MeddiffError):
    """A loss is not finite, or has exploded."""


@dataclass(frozen=True)
class TrainedDdpm:
    """What a training gave.

    Attributes:
        weights: those to sample from.
        history: one row an epoch: step, epoch, loss, validation_loss, lr.
        previews: uint8 (validations, images, H, W, C), drawn from the same noise every time.
    """

    weights: dict[str, Tensor]
    history: pd.DataFrame
    previews: np.ndarray


@dataclass(frozen=True)
class _Unread:
    """A step whose loss was not read yet."""

    loss: Tensor
    lr: float
    images: int


class DdpmTrainer:
    """One training, step by step; arguments as for `meddiff.diffusion.training.train_ddpm`."""

    def __init__(
        self,
        images: np.ndarray,
        settings: DiffusionSettings,
        seed: int,
        name: str,
        runtime: Runtime,
        validation: np.ndarray | None,
        compiled: bool,
    ) -> None:
        self.name, self._short = f"ddpm {name}", name
        self._settings, self._seed, self._runtime = settings, seed, runtime
        self._device = runtime.fabric.device
        torch.manual_seed(stream_seed(seed, "weights", self.name))
        network = build_network(images.shape[-1], **settings.network.model_dump())
        self._network = network.to(self._device).to(memory_format=torch.channels_last)
        self._average = (
            AveragedModel(self._network, multi_avg_fn=get_ema_multi_avg_fn(settings.ema))
            if settings.ema
            else None
        )
        if compiled:
            # One graph a batch size: those for any size are slower, and may round otherwise.
            self._network.compile(dynamic=False)
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimizer]
        fused = self._device.type in ("cuda", "cpu")
        optimizer: Optimizer = kind(self._network.parameters(), lr=settings.lr, fused=fused)
        self._optimizer = optimizer
        self._parallel, self._stepper = runtime.fabric.setup(self._network, optimizer)
        self._schedule = build_schedule(**settings.schedule.model_dump(exclude={"pixel_range"}))
        self._limit = EXPLODED * largest_loss(self._schedule, settings.min_snr)
        self._augmentation = resolve_augmentation(settings.augmentation)
        if settings.augment_once:
            images = augment_once(images, self._augmentation, seed, "augmentation", self.name)
            if validation is not None:
                key = (seed, "augmentation", self.name, "validation")
                validation = augment_once(validation, self._augmentation, *key)
            self._augmentation = AugmentationSettings()
        self._pixels = self._as_pixels(images)
        self._held_out = None if validation is None else self._as_pixels(validation)
        self._group = settings.batch_size * settings.gradient_accumulation
        self.steps = count_steps(settings, len(images), self._group)
        self._step_lr, self._epoch_lr = _lr_schedules(optimizer, settings, self.steps)
        self._history = History()
        self._unread: list[_Unread] = []
        log.info(
            "%s: %d images of %d px, %.2f M parameters, %d steps of %d images on %s",
            self.name,
            len(images),
            images.shape[1],
            sum(p.numel() for p in network.parameters()) / 1e6,
            self.steps,
            self._group,
            self._device
            if runtime.processes == 1
            else f"{runtime.processes} x {self._device.type}",
        )

    @property
    def lr(self) -> float:
        """Learning rate of the next step."""
        return float(self._optimizer.param_groups[0]["lr"])

    @property
    def done(self) -> int:
        """Steps taken and settled."""
        return self._history.done

    @property
    def unsettled(self) -> int:
        """Steps whose losses were not read yet."""
        return len(self._unread)

    @property
    def unsettled_images(self) -> int:
        """Images of those steps."""
        return sum(step.images for step in self._unread)

    def batches(self) -> Iterator[Batch]:
        """Yield the batches that are left."""
        key = (self._seed, "order", self.name)
        return batches(len(self._pixels), self._group, self.steps, *key, start=self.done)

    def step(self, batch: Batch) -> None:
        """Take one optimiser step; gradients add up over its parts, weighted by their size."""
        self._parallel.train()
        self._stepper.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self._device)
        key = stream_seed(self._seed, "noise", self.name, batch.step)
        parts = self._parts(self._training_images(batch), key)
        for number, (weight, part) in enumerate(parts):
            last = number + 1 == len(parts)
            with self._runtime.fabric.no_backward_sync(self._parallel, enabled=not last):
                loss = self._loss(self._parallel, part) * weight
                # Several processes average their gradients, and these are shares of one sum.
                self._runtime.fabric.backward(loss * self._runtime.processes)
            total += loss.detach()
        self._unread.append(_Unread(total, self.lr, len(batch.members)))
        self._stepper.step()
        if self._step_lr:
            self._step_lr.step()
        if self._average:
            self._average.update_parameters(self._network)

    def settle(self, batch: Batch) -> float:
        """Read the losses up to this batch; return the last.

        Raises:
            Diverged: one is not finite, or far above that of the untrained net.
        """
        losses = self._sum(torch.stack([step.loss for step in self._unread])).tolist()
        first = batch.step - len(losses) + 1
        for step, (loss, taken) in enumerate(zip(losses, self._unread, strict=True), start=first):
            if not -self._limit <= loss <= self._limit:
                raise Diverged(
                    f"{self.name}: the loss is {loss:.4g} at step {step} of {self.steps} (epoch "
                    f"{batch.epoch}, learning rate {taken.lr:.3g}): lower diffusion.lr and run "
                    "again"
                )
        self._history.add(losses, self._unread[-1].lr)
        self._unread = []
        return float(losses[-1])

    def end_epoch(self, batch: Batch) -> tuple[Mapping[str, float], np.ndarray | None]:
        """Add a row to the history; return it, and previews where they are due."""
        due = batch.epoch % self._settings.validation_every == 0 or batch.step == self.steps
        checked = self._validation_loss() if due and self._held_out is not None else math.nan
        row = self._history.end_epoch(batch, checked)
        if self._epoch_lr:
            self._epoch_lr.step(row["loss"])
        previews = self._draw_previews() if due and self._settings.preview.images else None
        if previews is not None:
            self._history.previews.append(previews)
        return row, previews

    def state(self) -> TrainState:
        """Return all that the following steps depend on.

        Raises:
            Diverged: weights are not finite.
        """
        if not all(torch.isfinite(weight).all() for weight in self._network.parameters()):
            raise Diverged(f"{self.name}: weights are not finite after step {self.done}: lower "
                           "diffusion.lr and run again")  # fmt: skip
        tensors = {f"network.{k}": v for k, v in self._network.state_dict().items()}
        if self._average:
            tensors |= {f"average.{k}": v for k, v in self._average.state_dict().items()}
        for number, moments in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{k}": v for k, v in moments.items()}
        tensors |= {
            f"preview.{number}": torch.from_numpy(images)
            for number, images in enumerate(self._history.previews)
        }
        values: dict[str, Any] = {"history": self._history.values(), "lr": self.lr}
        for key, part in self._stateful():
            values[key] = _plain(part.state_dict())
        return TrainState(tensors, values)

    def restore(self, saved: TrainState) -> None:
        """Go back to a state."""
        parts: dict[str, dict[str, Tensor]] = {}
        for name, tensor in saved.tensors.items():
            part, _, key = name.partition(".")
            parts.setdefault(part, {})[key] = tensor
        self._network.load_state_dict(parts["network"])
        if self._average:
            self._average.load_state_dict(parts["average"])
        optimizer = self._optimizer.state_dict()
        for name, tensor in parts.get("optimizer", {}).items():
            number, _, key = name.partition(".")
            optimizer["state"].setdefault(int(number), {})[key] = _as_computed(tensor)
        for group in optimizer["param_groups"]:
            group["lr"] = saved.values["lr"]
        self._optimizer.load_state_dict(optimizer)
        for key, part in self._stateful():
            part.load_state_dict(part.state_dict() | saved.values[key])
        previews = parts.get("preview", {})
        images = [previews[str(number)].numpy() for number in range(len(previews))]
        self._history = History.of(saved.values["history"], images)

    def result(self) -> TrainedDdpm:
        """Return what there is now."""
        shape = (0, self._settings.preview.images, *self._pixels.shape[1:])
        previews = self._history.previews
        return TrainedDdpm(
            dict(self._sampled.state_dict()),
            pd.DataFrame(self._history.rows, columns=COLUMNS),
            np.stack(previews) if previews else np.empty(shape, np.uint8),
        )

    def agree(self, mine: bool) -> bool:
        """Return whether any process says yes, so that all do the same."""
        if self._runtime.processes == 1:
            return mine
        return bool(self._sum(torch.tensor(float(mine), device=self._device)).item())

    @property
    def _sampled(self) -> nn.Module:
        module: nn.Module = self._average.module if self._average else self._network
        return module

    def _stateful(self) -> list[tuple[str, Any]]:
        parts = {
            "step_lr": self._step_lr,
            "epoch_lr": self._epoch_lr,
            "scaler": self._runtime.scaler,
        }
        return [(key, part) for key, part in parts.items() if part is not None]

    def _as_pixels(self, images: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(images)).to(self._device)

    def _training_images(self, batch: Batch) -> Tensor:
        """Return a batch's images in the net's range, augmented as their rows and epoch say."""
        members = self._pixels[torch.from_numpy(batch.members).to(self._device)]
        key = (self._seed, "augmentation", self.name, batch.epoch)
        unit = augment(to_unit_range(members), batch.members, self._augmentation, *key)
        return to_model_range(unit, self._settings.schedule.pixel_range)

    @torch.no_grad()
    def _validation_loss(self) -> float:
        """Loss of the weights that are sampled from, with the same times and noise every time."""
        assert self._held_out is not None
        clean = to_model_range(to_unit_range(self._held_out), self._settings.schedule.pixel_range)
        network = self._sampled.eval()
        parts = self._parts(clean, stream_seed(self._seed, "validation", self.name))
        mine = sum(self._loss(network, part).item() * weight for weight, part in parts)
        return float(self._sum(torch.tensor(mine, device=self._device)).item())

    def _draw_previews(self) -> np.ndarray | None:
        if self._runtime.rank != 0:
            return None
        channels, side = self._pixels.shape[-1], self._pixels.shape[1]
        return draw_previews(
            self._sampled,
            self._schedule,
            (channels, side, side),
            self._settings.preview,
            pixel_range=self._settings.schedule.pixel_range,
            seed=self._seed,
            name=self._short,
        )

    def _parts(self, clean: Tensor, key: int) -> list[tuple[float, tuple[Tensor, Tensor, Tensor]]]:
        """Return this process's share of a batch: images, times and noise, and their weight.

        Times and noise are drawn for the whole batch, so that neither the number of processes nor
        the size of parts changes them.
        """
        drawn = draw_times_and_noise(tuple(clean.shape), self._schedule.num_train_timesteps, key)
        whole = [clean, *(tensor.to(self._device) for tensor in drawn)]
        rank, processes = self._runtime.rank, self._runtime.processes
        mine = slice(rank * len(clean) // processes, (rank + 1) * len(clean) // processes)
        if mine.start == mine.stop:
            # Every process has to take part in the exchange of gradients.
            return [(0.0, (whole[0][:1], whole[1][:1], whole[2][:1]))]
        split = [tensor[mine].split(self._settings.batch_size) for tensor in whole]
        return [(len(part[0]) / len(clean), part) for part in zip(*split, strict=True)]

    def _loss(self, network: nn.Module, part: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        return denoising_loss(network, self._schedule, *part, min_snr=self._settings.min_snr)

    def _sum(self, mine: Tensor) -> Tensor:
        """Add up what the processes have."""
        if self._runtime.processes == 1:
            return mine
        return cast(Tensor, self._runtime.fabric.all_reduce(mine, reduce_op="sum"))


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what JSON cannot hold and the settings give again: functions of the rate."""
    return {key: value for key, value in values.items() if key != "lr_lambdas"}


def _as_computed(tensor: Tensor) -> Tensor:
    """Lay moments out in memory as the weights are."""
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


def _lr_schedules(
    optimizer: Optimizer, settings: DiffusionSettings, steps: int
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
