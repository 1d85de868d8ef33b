"""Where a DDPM is trained: one process or several, on CPUs or GPUs, in which arithmetic."""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from meddiff.core.devices import allow_tf32, check_precision
from meddiff.core.imports import lean_imports
from meddiff.core.settings import Precision

if TYPE_CHECKING:
    from lightning_fabric import Fabric

MIXED: dict[str, Literal["bf16-mixed", "16-mixed"]] = {"bf16": "bf16-mixed", "fp16": "16-mixed"}


@dataclass(frozen=True)
class Runtime:
    """One of the processes that train together.

    Attributes:
        fabric: Lightning's Fabric: device, processes and arithmetic.
        scaler: keeps gradients in fp16's range, or None.
    """

    fabric: "Fabric"
    scaler: torch.amp.GradScaler | None = None

    @property
    def rank(self) -> int:
        """Number of this process; 0 writes files and draws previews."""
        return self.fabric.global_rank

    @property
    def processes(self) -> int:
        """All processes that train together."""
        return self.fabric.world_size

    def describe(self) -> str:
        """Return the devices in words, e.g. `cuda:0` or `4 x cuda`."""
        device = self.fabric.device
        return str(device) if self.processes == 1 else f"{self.processes} x {device.type}"


def setup_runtime(
    device: str, precision: Precision, *, processes: int = 1, nodes: int = 1
) -> Runtime:
    """Return this process's runtime; with several, each must be started by torchrun.

    Raises:
        MeddiffError: the device cannot calculate so.
    """
    with lean_imports():
        from lightning_fabric import Fabric
        from lightning_fabric.plugins.environments import (
            LightningEnvironment,
            TorchElasticEnvironment,
        )
        from lightning_fabric.plugins.precision import MixedPrecision

    check_precision(device, precision)
    allow_tf32(precision == "tf32")
    scaler = torch.amp.GradScaler(device) if precision == "fp16" else None
    # Fabric logs its configuration at each start.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    distributed = processes * nodes > 1
    plugins: list[Any] = []
    if precision in MIXED:
        plugins.append(MixedPrecision(MIXED[precision], device, scaler))
    # Explicit, since Fabric would otherwise take a job of Slurm for one process per task.
    plugins.append(TorchElasticEnvironment() if distributed else LightningEnvironment())
    fabric = Fabric(
        accelerator=device,
        devices=processes,
        num_nodes=nodes,
        strategy="ddp" if distributed else "auto",
        plugins=plugins,
    )
    if distributed:
        fabric.launch()
    return Runtime(fabric, scaler)
