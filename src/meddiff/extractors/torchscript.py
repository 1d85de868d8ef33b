"""Tensors of a TorchScript file, which is a program: they are read, and nothing of it is run."""

import math
import pickle
import zipfile
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

TYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
"""Numbers of a storage; those of a net of 32 bits."""


class _Object(dict[str, Any]):
    """Attributes of a module of the program, whatever its class does."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.update(state)


class _Reader(pickle.Unpickler):
    """Unpickles modules as plain attributes and tensors as views of their stored numbers."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        [member] = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        super().__init__(archive.open(member))
        self._archive, self._folder = archive, member.removesuffix("data.pkl")

    def find_class(self, module: str, name: str) -> Any:
        """Return a class of a list of harmless ones."""
        if module.partition(".")[0] == "__torch__":
            return _Object
        if module == "torch" and name in TYPES:
            return TYPES[name]
        if module == "torch.jit._pickle":
            return list
        allowed = {
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("collections", "OrderedDict"): dict,
        }
        if (module, name) in allowed:
            return allowed[module, name]
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        """Return the numbers of a storage."""
        _, dtype, key, _, count = pid
        return np.frombuffer(self._archive.read(f"{self._folder}data/{key}"), dtype, count)


def read_tensors(file: BinaryIO) -> dict[str, Tensor]:
    """Return the tensors of a TorchScript file by the names of their attributes, in its order.

    Raises:
        pickle.UnpicklingError, ValueError, KeyError, zipfile.BadZipFile: it is no such file.
    """
    with zipfile.ZipFile(file) as archive:
        return dict(_walk("", _Reader(archive).load()))


def _tensor(numbers: np.ndarray, offset: int, shape: tuple[int, ...], *_: Any) -> Tensor:
    return torch.from_numpy(numbers[offset : offset + math.prod(shape)].reshape(shape).copy())


def _walk(prefix: str, attributes: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    for name, value in attributes.items():
        if isinstance(value, _Object):
            yield from _walk(f"{prefix}{name}.", value)
        elif isinstance(value, Tensor):
            yield prefix + name, value
