"""Which device the nets run on."""

import copy
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from meddiff.core.errors import MeddiffError
from meddiff.core.settings import Precision

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""What nets mix in where a precision asks for 16 bits."""


def choose_device(wanted: str) -> str:
    """Return the torch device for `compute.device`; "auto" takes a GPU where there is one."""
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if wanted == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if available[name])
    if not available[wanted]:
        raise MeddiffError(
            f"compute.device is {wanted}, but torch sees none here: set it to auto or cpu, or "
            "install torch for your GPU"
        )
    return wanted


def limit_threads(threads: int) -> None:
    """Let torch compute with so many CPU threads, the same way every time where it can."""
    torch.set_num_threads(threads)
    allow_tf32(False)  # cuDNN would by default
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Nothing here reads memory that it has not written, and filling it takes a kernel each time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def check_precision(device: str, precision: Precision) -> None:
    """Raise a MeddiffError if a device cannot calculate in a precision."""
    if precision == "tf32" and device != "cuda":
        raise MeddiffError(f"precision tf32 is for NVIDIA GPUs, not {device}: set it to fp32")
    if (
        precision == "bf16"
        and device == "cuda"
        and not torch.cuda.is_bf16_supported(including_emulation=False)
    ):
        raise MeddiffError("this GPU has no precision bf16: set it to fp16")


def allow_tf32(allowed: bool) -> None:
    """Let NVIDIA GPUs round what they multiply to 19 bits, or not."""
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed


@contextmanager
def rounding(precision: Precision) -> Iterator[None]:
    """Let NVIDIA GPUs round to TF32 within the block for `tf32`, and not for any other."""
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    allow_tf32(precision == "tf32")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions


@contextmanager
def arithmetic(device: str, precision: Precision) -> Iterator[None]:
    """Compute nets within the block in a precision that `check_precision` allows."""
    # A CUDA graph must not keep a cast that its capture alone has made.
    half, cached = HALF.get(precision), device != "cuda"
    casts = torch.autocast(device, half, enabled=half is not None, cache_enabled=cached)
    with rounding(precision), casts:
        yield


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor from the CPU without letting the CPU wait for what a GPU does meanwhile."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


COMPILED = ".snakemake/compiled"
"""Where compiled kernels lie, in the run directory: the next net of the same shape takes them."""


def compile_network(network: nn.Module, device: str) -> None:
    """Compile a net in place, for each size of batch by itself.

    Code for any size is slower, and may round otherwise.
    """
    _check_compiler()
    options: dict[str, Any] = {}
    if device == "cuda":
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(COMPILED).absolute()))
        # Choices by timing would differ from run to run; only newer versions can do without.
        if "deterministic" in torch._inductor.list_options():
            options = {"options": {"deterministic": True}}
    network.compile(dynamic=False, **options)


def _check_compiler() -> None:
    named = os.environ.get("CXX") or os.environ.get("CC")
    if not any(map(shutil.which, [named] if named else ["g++", "gcc", "clang++", "clang", "cc"])):
        raise MeddiffError(
            f"compute.compile needs a C++ compiler, and there is no {named or 'g++ or clang'}: "
            "install one, or set compute.compile to false"
        )


def share_parameters(network: nn.Module) -> nn.Module:
    """Return a copy of a net that has the same parameters, not copies: to compile it or not."""
    return copy.deepcopy(network, {id(each): each for each in network.parameters()})


CUBLAS = "CUBLAS_STATUS_ALLOC_FAILED"
"""What torch says, in an error of no kind of its own, where a library lacks memory of the GPU."""


def is_lack_of_memory(error: BaseException) -> bool:
    """Return whether an error of torch says that a GPU has too little memory."""
    return isinstance(error, torch.OutOfMemoryError) or CUBLAS in str(error)


@contextmanager
def memory_errors(remedy: str) -> Iterator[None]:
    """Turn torch's lack of memory, on a GPU or the CPU, into one line that ends with `remedy`."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        on_gpu = is_lack_of_memory(error)
        signs = ("can't allocate memory", "not enough memory", "out of memory")
        of_cpu = isinstance(error, MemoryError) or any(sign in str(error) for sign in signs)
        if not (on_gpu or of_cpu):
            raise
        where = "the GPU" if on_gpu else "this machine"
        raise MeddiffError(f"{where} has too little memory: {remedy}") from error
