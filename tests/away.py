"""A stand-in for a GPU: its tensors compute on the CPU and refuse to meet those of the CPU.

Within `device(kind)` tensors sent to that kind are `Away`. They say that they are there; an
operation that mixes them with tensors left behind raises, as torch does on a real device, and so
does an array of one. On "cuda" so does what a CUDA graph cannot hold, from the second call on of a
function that is captured. Layers, and products of pairs, are counted, by where they were
computed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten

from meddiff.core.graphs import Graphed

READS = {Tensor.item, Tensor.tolist, Tensor.__bool__, Tensor.__float__, Tensor.__int__,
         Tensor.__index__, Tensor.cpu, Tensor.nonzero, torch.nonzero}  # fmt: skip
"""What waits for the device, or has a shape that only values tell."""


LAYERS = {torch.conv2d, torch.nn.functional.linear, torch.baddbmm}


class Away(Tensor):
    """A tensor on the device."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func == Tensor.device.__get__:
            return Device.present()
        if func == Tensor.is_cuda.__get__:
            return Device.present().type == "cuda"
        if func == Tensor.grad.__get__:
            gradient = super().__torch_function__(func, types, args, kwargs)
            return None if gradient is None else gradient.as_subclass(cls)
        if func is torch._has_compatible_shallow_copy_type:
            return False
        if func is Tensor.numpy:
            raise TypeError("a tensor of the device has no array")
        if func is Tensor.cpu:
            return args[0].as_subclass(Tensor)
        if func is Tensor.__deepcopy__:
            return cls._deepcopy(*args)
        if func is Tensor.copy_:
            return super().__torch_function__(func, types, args, kwargs)
        for each in tree_flatten((args, kwargs))[0]:
            if isinstance(each, Tensor) and not isinstance(each, cls) and each.dim():
                raise RuntimeError(f"{func}: tensors on {Device.present()} and on the CPU")
        return super().__torch_function__(func, types, args, kwargs)

    @classmethod
    def _deepcopy(cls, tensor: Tensor, memo: dict) -> Tensor:
        if id(tensor) not in memo:
            copied = tensor.detach().clone().requires_grad_(tensor.requires_grad)
            if getattr(tensor, "_is_param", False):
                copied._is_param = True
            memo[id(tensor)] = copied
        return memo[id(tensor)]


class Device(TorchFunctionMode):
    """Sends tensors to a device and back.

    Args:
        kind: "cuda", or "mps".

    Attributes:
        layers: how many layers were computed there (True) and on the CPU (False).
    """

    _present: "list[Device]" = []

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.here, self.capturing = torch.device(kind), False
        self.layers = {True: 0, False: 0}

    def __enter__(self) -> "Device":
        self._present.append(self)
        return super().__enter__()

    def __exit__(self, *failure: object) -> None:
        super().__exit__(*failure)
        self._present.pop()

    @classmethod
    def present(cls) -> torch.device:
        return cls._present[-1].here

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if self.capturing and func in READS and isinstance(args[0], Away):
            raise RuntimeError(f"a graph cannot hold {func.__name__}")
        if func in LAYERS:
            self.layers[isinstance(args[0], Away)] += 1
        if func is Tensor.pin_memory:
            return args[0]
        if func is Tensor.to:
            return self._moved(func, args, kwargs)
        if self._is_here(kwargs.get("device")):
            if self.capturing and func is torch.tensor:
                raise RuntimeError("a graph cannot hold a copy from the CPU")
            return func(*args, **kwargs | {"device": "cpu"}).as_subclass(Away)
        return func(*args, **kwargs)

    def _moved(self, func: Callable, args: tuple, kwargs: dict) -> Tensor:
        place = next((a for a in [*args[1:], kwargs.get("device")] if _is_device(a)), None)
        other = next((a for a in args[1:] if isinstance(a, Tensor)), None)
        if place is None and other is None:
            return func(*args, **kwargs)
        there = isinstance(other, Away) if place is None else self._is_here(place)
        if self.capturing and there != isinstance(args[0], Away) and args[0].dim():
            raise RuntimeError("a graph cannot hold a copy between devices")
        moved = args[0].as_subclass(Away if there else Tensor)
        wanted = [*args[1:], kwargs.get("dtype"), other.dtype if other is not None else None]
        kinds = [each for each in wanted if isinstance(each, torch.dtype)]
        layout = {key: kwargs[key] for key in ("memory_format",) if kwargs.get(key)}
        return moved.to(*kinds[:1], **layout) if kinds or layout else moved

    def _is_here(self, value: object) -> bool:
        return _is_device(value) and torch.device(value).type == self.here.type


def _is_device(value: object) -> bool:
    return isinstance(value, torch.device) or (
        isinstance(value, str) and value.split(":")[0] in ("cuda", "mps", "cpu")
    )


@contextmanager
def device(kind: str) -> Iterator[Device]:
    """Let a device of this kind be there; functions are run as if a CUDA graph held them."""

    def run(graphed: Graphed, *inputs: Tensor) -> Tensor:
        # The first call warms up: what is made there once stays.
        away.capturing = kind == "cuda" and hasattr(graphed, "warm")
        graphed.warm = True
        try:
            return graphed._function(*inputs)
        finally:
            away.capturing = False

    def generator(place: object) -> torch.Generator:
        return Generator("cpu")

    Generator = torch.Generator
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with (
            mock.patch.object(Graphed, "__call__", run),
            mock.patch.object(torch, "Generator", generator),
            mock.patch.object(torch.cuda, "is_bf16_supported", lambda **_: True),
            Device(kind) as away,
        ):
            yield away
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)
