"""One optimiser step, launched kernel by kernel or replayed as a CUDA graph."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from meddiff.core.devices import (
    HALF,
    compile_network,
    is_lack_of_memory,
    rounding,
    share_parameters,
)
from meddiff.core.graphs import Graphed, capturable_optimizer, changed_by_step, set_rate
from meddiff.diffusion.model import double_by_repeating
from meddiff.diffusion.process import Process
from meddiff.diffusion.settings import DiffusionSettings
from meddiff.diffusion.training.distributed import Runtime
from meddiff.diffusion.training.objective import denoising_loss, min_snr_weights

log = logging.getLogger(__name__)

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}

Batch = tuple[Tensor, ...]
"""Clean images (N,C,H,W) in the net's range, times (N,), noise (N,C,H,W), and the conditions
(N,...) of a net that takes any."""


@dataclass(frozen=True)
class Model:
    """The net of a training and what belongs to it.

    Attributes:
        network: trained, and compiled where that is wanted.
        plain: the same parameters, for other sizes of batch than the training's on a GPU.
        average: moving average of the parameters, or None.
        weigh: gives the weights of times, or None for 1.
    """

    network: nn.Module
    plain: nn.Module
    average: AveragedModel | None
    schedule: Process
    weigh: Callable[[Tensor], Tensor] | None

    @property
    def sampled(self) -> nn.Module:
        """The net to sample from."""
        return self.average.module if self.average else self.plain

    def loss(self, network: Callable[..., Tensor], batch: Batch) -> Tensor:
        """Return the loss of a batch; `network` is one of ours, perhaps in other arithmetic."""
        clean, times, noise, *others = batch
        condition = dict(zip(("class_labels",), others, strict=False))
        return denoising_loss(
            network, self.schedule, clean, times, noise, weigh=self.weigh, **condition
        )


def build_model(
    network: nn.Module,
    schedule: Process,
    settings: DiffusionSettings,
    device: torch.device,
    *,
    compiled: bool,
) -> Model:
    """Put an untrained net of the CPU on its device, and make what a training needs beside it."""
    if device.type == "cuda":
        double_by_repeating(network)
    network = network.to(device).to(memory_format=torch.channels_last)
    average, plain = None, network
    if settings.ema:
        average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.ema))
    if compiled:
        if device.type == "cuda":
            plain = share_parameters(network)
        compile_network(network, device.type)
    weigh = None
    if settings.min_snr is not None:
        weigh = min_snr_weights(schedule, settings.min_snr, device)
    schedule.to(device)
    return Model(network, plain, average, schedule, weigh)


class Step(ABC):
    """Takes optimiser steps."""

    _optimizer: Optimizer

    @abstractmethod
    def __call__(self, batch: Batch, lr: float) -> Tensor:
        """Take a step; return the loss of the batch (), of this process's share of it."""

    def optimizer_state(self) -> dict[str, Any]:
        """Return the optimiser's state."""
        return self._optimizer.state_dict()

    def load_optimizer_state(self, values: dict[str, Any]) -> None:
        """Restore a state of the optimiser."""
        self._optimizer.load_state_dict(values)


def build_step(model: Model, settings: DiffusionSettings, runtime: Runtime, name: str) -> Step:
    """Return the kind of step that a training's runtime allows."""
    if runtime.fabric.device.type != "cuda" or runtime.processes > 1:
        return FabricStep(model, settings, runtime)
    if runtime.scaler is not None:
        log.info("%s: fp16 scales its losses, so that steps are not captured in a graph", name)
        return FabricStep(model, settings, runtime)
    return GraphStep(model, settings, name)


class FabricStep(Step):
    """A step on any device, with other processes, in any arithmetic.

    Gradients add up over parts of `batch_size` images, weighted by their size.
    """

    def __init__(self, model: Model, settings: DiffusionSettings, runtime: Runtime) -> None:
        self._model, self._settings, self._runtime = model, settings, runtime
        fused = runtime.fabric.device.type in ("cuda", "cpu")
        kind: Any = OPTIMIZERS[settings.optimizer]
        self._optimizer = kind(model.network.parameters(), lr=settings.lr, fused=fused)
        self._parallel, self._stepper = runtime.fabric.setup(model.network, self._optimizer)

    def __call__(self, batch: Batch, lr: float) -> Tensor:
        """Take a step; return the loss of this process's share."""
        self._parallel.train()
        self._stepper.zero_grad(set_to_none=True)
        set_rate(self._optimizer, lr)
        total = torch.zeros((), device=batch[0].device)
        parts = list(shares(batch, self._settings.batch_size, self._runtime))
        for number, (weight, part) in enumerate(parts):
            last = number + 1 == len(parts)
            with self._runtime.fabric.no_backward_sync(self._parallel, enabled=not last):
                loss = self._model.loss(self._parallel, part) * weight
                # Several processes average their gradients, and these are shares of one sum.
                self._runtime.fabric.backward(loss * self._runtime.processes)
            total += loss.detach()
        self._stepper.step()
        if self._model.average:
            self._model.average.update_parameters(self._model.network)
        return total


class GraphStep(Step):
    """A step of one process on CUDA: forward, backward, optimiser and average in one graph.

    The whole batch goes through the net at once where memory allows, since a graph's time is that
    of its kernels, and larger ones use a GPU better. Otherwise its parts are halved, down to
    `batch_size`.
    """

    def __init__(self, model: Model, settings: DiffusionSettings, name: str) -> None:
        self._model, self._settings, self._name = model, settings, name
        kind = OPTIMIZERS[settings.optimizer]
        self._optimizer = capturable_optimizer(kind, model.network, settings.lr)
        self._part = settings.batch_size * settings.gradient_accumulation
        self._usual = self._part
        self._run, self._logged = self._capturable(), False

    def __call__(self, batch: Batch, lr: float) -> Tensor:
        """Take a step; return its loss."""
        set_rate(self._optimizer, lr)
        loss = self._through(batch).clone()
        self._count_average()
        if not self._logged:
            peak = torch.cuda.max_memory_allocated() / 2**30
            log.info("%s: %d images per pass, %.2f GiB at most", self._name, self._part, peak)
            self._logged = True
        return loss

    def load_optimizer_state(self, values: dict[str, Any]) -> None:
        """Restore a state of the optimiser, and let the next step capture it."""
        super().load_optimizer_state(values)
        self._run = self._capturable()

    def _through(self, batch: Batch) -> Tensor:
        while True:
            try:
                return self._run(*batch)
            except RuntimeError as error:
                if not is_lack_of_memory(error) or self._part <= self._settings.batch_size:
                    raise
            self._part = max(self._settings.batch_size, -(-self._part // 2))
            self._run = self._capturable()
            torch.cuda.empty_cache()

    def _capturable(self) -> Graphed:
        return Graphed(self._body, self._changed)

    def _body(self, *batch: Tensor) -> Tensor:
        with rounding(self._settings.precision):
            return self._passes(batch)

    def _passes(self, batch: Batch) -> Tensor:
        self._optimizer.zero_grad(set_to_none=True)
        clean = batch[0]
        total = torch.zeros((), device=clean.device)
        # Another size would be compiled anew: the last batch of an epoch takes the plain net.
        network = self._model.network if len(clean) == self._usual else self._model.plain
        forward = mixed(network, self._settings.precision)
        for part in zip(*(tensor.split(self._part) for tensor in batch), strict=True):
            loss = self._model.loss(forward, part) * (len(part[0]) / len(clean))
            loss.backward()
            total += loss.detach()
        self._optimizer.step()
        self._update_average()
        return total

    @torch.no_grad()
    def _update_average(self) -> None:
        """Do as `AveragedModel.update_parameters` does from the second step on."""
        average = self._model.average
        if average is None or self._settings.ema is None:
            return
        latest = [each.detach() for each in self._model.network.parameters()]
        torch._foreach_lerp_(list(average.module.parameters()), latest, 1 - self._settings.ema)

    @torch.no_grad()
    def _count_average(self) -> None:
        """Count a step into the average, which begins with the first one's weights."""
        average = self._model.average
        if average is None:
            return
        if average.n_averaged == 0:
            torch._foreach_copy_(
                list(average.module.parameters()), list(self._model.network.parameters())
            )
        average.n_averaged += 1

    def _changed(self) -> Iterator[Tensor]:
        yield from changed_by_step(self._model.network, self._optimizer)
        if self._model.average:
            yield from self._model.average.parameters()


def mixed(network: nn.Module, precision: str) -> Callable[..., Tensor]:
    """Return a net's forward pass in an arithmetic, its output in float32."""

    def forward(noisy: Tensor, timesteps: Tensor, **condition: Tensor) -> Tensor:
        kind, half = noisy.device.type, HALF.get(precision)
        # Casts that a capture made must not outlive it.
        with torch.autocast(kind, half, enabled=half is not None, cache_enabled=False):
            output: Tensor = network(noisy, timesteps=timesteps, **condition)
        return output.float()

    return forward


def shares(batch: Batch, size: int, runtime: Runtime) -> Iterator[tuple[float, Batch]]:
    """Yield the parts of this process's share of a batch, with their weights in its mean.

    Args:
        batch: the same in every process.
        size: most images in a part.
    """
    images, rank, processes = len(batch[0]), runtime.rank, runtime.processes
    own = slice(rank * images // processes, (rank + 1) * images // processes)
    if own.start == own.stop:
        # Every process has to take part in the exchange of gradients.
        yield 0.0, tuple(tensor[:1] for tensor in batch)
        return
    split: Sequence[tuple[Tensor, ...]] = [tensor[own].split(size) for tensor in batch]
    for part in zip(*split, strict=True):
        yield len(part[0]) / images, part
