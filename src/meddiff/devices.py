"""Which device the nets run on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from meddiff.errors import MeddiffError


def choose_device(wanted: str) -> str:
    """Return the torch device for `compute.device`; "auto" takes a GPU where there is one.

    Raises:
        MeddiffError: the wanted device is not there.
    """
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if wanted == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there[wanted]:
        raise MeddiffError(
            f"compute.device is {wanted}, but torch sees none here: set it to auto or cpu, or "
            "install torch for your GPU"
        )
    return wanted


def limit_threads(threads: int) -> None:
    """Let torch compute with so many CPU threads, the same way every time where it can."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@contextmanager
def naming_memory(remedy: str) -> Iterator[None]:
    """Turn torch's lack of memory into one line that ends with what to do.

    Raises:
        MeddiffError: the block ran out of memory, on a GPU or on the CPU.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        told = str(error)
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and not any(
            sign in told for sign in ("can't allocate memory", "not enough memory", "out of memory")
        ):
            raise
        where = "the GPU" if isinstance(error, torch.OutOfMemoryError) else "this machine"
        raise MeddiffError(f"{where} has too little memory: {remedy}") from error
