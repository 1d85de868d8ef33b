"""CUDA graphs: the kernels of a function, launched together."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

log = logging.getLogger(__name__)

WARM_UP = 3
"""Calls before a function is captured, in which libraries choose their kernels and workspaces."""


@dataclass(frozen=True)
class _Capture:
    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    output: Tensor


class Graphed:
    """A function of tensors that is captured once per shape of its inputs and then replayed.

    A network of many small layers keeps a GPU waiting for the next kernel; a replayed graph does
    not. Inputs on other devices than CUDA are passed to the function as they are, and so are all
    where a capture fails, with a line in the log.

    Args:
        function: takes tensors and returns one. It may change `state` in place, must not copy
            values to the host, and must not depend on Python values that change between calls.
        state: returns the tensors that the function changes. They are restored after the calls
            that come before a capture; those that first appear there start from zero.
    """

    def __init__(
        self,
        function: Callable[..., Tensor],
        state: Callable[[], Iterable[Tensor]] = tuple,
        *,
        enabled: bool = True,
    ) -> None:
        self._function, self._state, self._enabled = function, state, enabled
        self._captures: dict[object, _Capture] = {}

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Return the function's output; on CUDA it is valid until the next call."""
        if not self._enabled or inputs[0].device.type != "cuda":
            return self._function(*inputs)
        key = tuple((tensor.shape, tensor.dtype) for tensor in inputs)
        if key not in self._captures:
            try:
                self._captures[key] = self._capture(inputs)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                reason = " ".join(str(error).split())[:200]
                log.warning("not captured in a CUDA graph, so that it is slower: %s", reason)
                self._enabled = False
                return self._function(*inputs)
        capture = self._captures[key]
        for static, tensor in zip(capture.inputs, inputs, strict=True):
            static.copy_(tensor)
        capture.graph.replay()
        return capture.output

    def _capture(self, inputs: tuple[Tensor, ...]) -> _Capture:
        static = tuple(tensor.clone() for tensor in inputs)
        saved = {id(tensor): tensor.clone() for tensor in self._state()}
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        try:
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP):
                    self._function(*static)
        finally:
            torch.cuda.current_stream().wait_stream(stream)
            self._restore(saved)
        graph = torch.cuda.CUDAGraph()
        # Graphs of several shapes share memory, since no two of them run at once.
        pool = next((capture.graph.pool() for capture in self._captures.values()), None)
        with torch.cuda.graph(graph, pool=pool):
            output = self._function(*static)
        return _Capture(graph, static, output)

    @torch.no_grad()
    def _restore(self, saved: dict[int, Tensor]) -> None:
        for tensor in self._state():
            if id(tensor) in saved:
                tensor.copy_(saved[id(tensor)])
            else:
                tensor.zero_()
