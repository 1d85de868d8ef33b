"""Training of an autoencoder: pixels, latents, and a discriminator of patches."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from meddiff.core.batches import Batch, batches, check_finite, count_steps
from meddiff.core.devices import memory_errors
from meddiff.core.imports import lean_imports
from meddiff.core.progress import Progress
from meddiff.core.randomness import stream_seed
from meddiff.diffusion.checkpointing import (
    CheckpointFile,
    TrainState,
    interrupted_at,
    interruption,
    named_moments,
    numbered_moments,
    prefixed,
)
from meddiff.diffusion.latent.autoencoder import AT_ONCE, Autoencoder, from_pixels
from meddiff.diffusion.latent.lpips import Lpips
from meddiff.diffusion.latent.settings import LatentSettings

NAME = "autoencoder"
COLUMNS = ["step", "epoch", "loss", "validation_loss", "lr"]
VALIDATE_EVERY = 5
"""Epochs between validation losses."""
LACKS_MEMORY = "lower diffusion.latent.batch_size or diffusion.latent.channels"


@dataclass(frozen=True)
class TrainedAutoencoder:
    """The result of a training.

    Attributes:
        model: whose latents have unit variance.
        history: one row per epoch: step, epoch, loss and validation_loss, both mean absolute errors
            of pixels in [-1, 1], and lr.
    """

    model: Autoencoder
    history: pd.DataFrame


def train_autoencoder(
    images: np.ndarray,
    settings: LatentSettings,
    *,
    seed: int,
    validation: np.ndarray | None = None,
    lpips: Lpips | None = None,
    checkpointer: CheckpointFile | None = None,
    device: str = "cpu",
) -> TrainedAutoencoder:
    """Train an autoencoder; an interrupted training goes on and ends with the same bits.

    Args:
        images: uint8 (N,H,W,C) of all classes.
        seed: fixes weights, order and noise.
        validation: uint8 (M,H,W,C), or None.
        lpips: perceptual distance, for a `perceptual_weight` above 0.

    Raises:
        MeddiffError: the loss is no longer finite, memory does not suffice, or the process is
            interrupted (SIGTERM); then its state is saved.
    """
    with memory_errors(LACKS_MEMORY), interruption() as interrupted:
        trainer = _Trainer(images, settings, seed, device, validation, lpips)
        if state := checkpointer and checkpointer.load():
            trainer.restore(state)
        with Progress(trainer.steps, NAME, done=trainer.done) as progress:
            for batch in trainer.batches():
                loss = trainer.step(batch)
                progress.advance(1, loss=loss, lr=settings.lr)
                stop = interrupted.is_set()
                if checkpointer and (stop or checkpointer.is_due()):
                    checkpointer.save(trainer.state())
                if stop:
                    raise interrupted_at(NAME, batch.step, trainer.steps)
        return trainer.result()


class _Trainer:
    def __init__(
        self,
        images: np.ndarray,
        settings: LatentSettings,
        seed: int,
        device: str,
        validation: np.ndarray | None,
        lpips: Lpips | None,
    ) -> None:
        with lean_imports():
            from monai.losses import PatchAdversarialLoss
            from monai.networks.nets import PatchDiscriminator

        self._settings, self._seed, self._lpips = settings, seed, lpips
        self._pixels = torch.from_numpy(np.array(images)).to(device)
        self._held_out = None if validation is None else torch.from_numpy(np.array(validation))
        torch.manual_seed(stream_seed(seed, "weights", NAME))
        channels = images.shape[-1]
        self._model = Autoencoder(channels, settings).to(device)
        self._judge: nn.Module = PatchDiscriminator(
            spatial_dims=2, channels=32, in_channels=channels, num_layers_d=2
        ).to(device)
        self._verdict = PatchAdversarialLoss(criterion="least_squares")
        self._nets = {"model": self._model, "judge": self._judge}
        self._optimizers = {
            name: torch.optim.Adam(net.parameters(), lr=settings.lr)
            for name, net in self._nets.items()
        }
        self.steps = count_steps(settings, len(images), settings.batch_size)
        self.done = 0
        self._losses: list[float] = []
        self._rows: list[dict[str, float]] = []

    def batches(self) -> Any:
        key = (self._seed, "order", NAME)
        size = self._settings.batch_size
        return batches(len(self._pixels), size, self.steps, *key, start=self.done)

    def step(self, batch: Batch) -> float:
        """Take a step of the autoencoder, then one of the discriminator; return the error."""
        self._model.train()
        rows = torch.from_numpy(batch.members).to(self._pixels.device)
        images = from_pixels(self._pixels[rows])
        made, penalty = self._model.reconstruct(images, self._noise(images, batch.step))
        error = nn.functional.l1_loss(made, images)
        loss = error + (self._settings.kl_weight if self._model.is_normal else 1.0) * penalty
        if self._lpips:
            loss = loss + self._settings.perceptual_weight * self._lpips(made, images).mean()
        judged = self._settings.adversarial_weight > 0
        judged &= batch.step > self._settings.adversarial_from * self.steps
        if judged:
            fooled = self._judged(made, real=True, of_judge=False)
            loss = loss + self._settings.adversarial_weight * fooled
        self._descend("model", loss)
        if judged:
            right = self._judged(made.detach(), real=False, of_judge=True)
            self._descend("judge", (right + self._judged(images, real=True, of_judge=True)) / 2)
        value = float(loss.detach())
        check_finite(value, NAME, batch, self.steps, self._settings.lr, "diffusion.latent.lr")
        self._count(batch, float(error.detach()))
        return value

    def _judged(self, images: Tensor, *, real: bool, of_judge: bool) -> Tensor:
        verdict: Tensor = self._verdict(
            self._judge(images.contiguous())[-1], target_is_real=real, for_discriminator=of_judge
        )
        return verdict

    def _descend(self, name: str, loss: Tensor) -> None:
        optimizer = self._optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def _noise(self, images: Tensor, step: int) -> Tensor:
        """Noise of the latents, from the CPU whatever the device."""
        count, _, height, width = images.shape
        factor, channels = self._model.factor, self._settings.latent_channels
        generator = torch.Generator("cpu").manual_seed(stream_seed(self._seed, "noise", NAME, step))
        shape = (count, channels, height // factor, width // factor)
        return torch.randn(shape, generator=generator).to(images.device)

    def _count(self, batch: Batch, error: float) -> None:
        self.done = batch.step
        self._losses.append(error)
        if not batch.ends_epoch:
            return
        due = batch.epoch % VALIDATE_EVERY == 0 or batch.step == self.steps
        row = {"step": batch.step, "epoch": batch.epoch, "loss": float(np.mean(self._losses))}
        row["validation_loss"] = self._validation_loss() if due else math.nan
        self._rows.append(row | {"lr": self._settings.lr})
        self._losses = []

    @torch.no_grad()
    def _validation_loss(self) -> float:
        if self._held_out is None:
            return math.nan
        self._model.eval()
        total = 0.0
        for part in self._held_out.split(AT_ONCE):
            images = from_pixels(part.to(self._pixels.device))
            made = self._model.decode(self._model.raw(images))
            total += float(nn.functional.l1_loss(made, images)) * len(part)
        return total / len(self._held_out)

    def state(self) -> TrainState:
        """Return all that the following steps depend on."""
        tensors: dict[str, Tensor] = {}
        for name, net in self._nets.items():
            tensors |= prefixed(name, net.state_dict())
            moments = named_moments(self._optimizers[name].state_dict())
            tensors |= prefixed(f"{name} optimizer", moments)
        values = {"done": self.done, "losses": self._losses, "rows": self._rows}
        return TrainState(tensors, values)

    def restore(self, state: TrainState) -> None:
        """Restore a state."""
        parts = state.parts()
        for name, net in self._nets.items():
            net.load_state_dict(parts[name])
            optimizer = self._optimizers[name].state_dict()
            moments = numbered_moments(parts.get(f"{name} optimizer", {}))
            self._optimizers[name].load_state_dict(optimizer | {"state": moments})
        self.done = int(state.values["done"])
        self._losses, self._rows = list(state.values["losses"]), list(state.values["rows"])

    def result(self) -> TrainedAutoencoder:
        """Return the autoencoder, its latents standardised."""
        self._model.eval()
        self._model.standardise(self._pixels)
        return TrainedAutoencoder(self._model, pd.DataFrame(self._rows, columns=COLUMNS))
