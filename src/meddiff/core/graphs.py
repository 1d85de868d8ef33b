"""CUDA graphs: the kernels of a function, a step of a training for one, launched together."""

import gc
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from meddiff.core.devices import is_lack_of_memory

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
            that come before a capture; those that first appear there start from zero. So is the
            device's own generator, from which dropout draws.
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
            capture = self._try_capture(inputs)
            if capture is None:
                return self._function(*inputs)
            self._captures[key] = capture
        capture = self._captures[key]
        for static, tensor in zip(capture.inputs, inputs, strict=True):
            static.copy_(tensor)
        capture.graph.replay()
        return capture.output

    def _try_capture(self, inputs: tuple[Tensor, ...]) -> _Capture | None:
        try:
            return self._capture(inputs)
        except RuntimeError as error:
            # The end of a failed capture raises once more, and hides what went wrong.
            chain: list[BaseException] = [error]
            while chain[-1].__context__ is not None:
                chain.append(chain[-1].__context__)
            _forget_capture(inputs[0].device)
            for cause in chain:
                if is_lack_of_memory(cause):
                    raise cause from None
            reason = " ".join(f"{type(chain[-1]).__name__}: {chain[-1]}".split())[:300]
            log.warning("not captured in a CUDA graph, so that it is slower: %s", reason)
            self._enabled = False
            return None

    def _capture(self, inputs: tuple[Tensor, ...]) -> _Capture:
        static = tuple(tensor.clone() for tensor in inputs)
        # Detached: a copy's history would bind the gradients of parameters to this stream, which
        # cannot be captured.
        saved = {id(tensor): tensor.detach().clone() for tensor in self._state()}
        random = torch.cuda.get_rng_state(inputs[0].device)
        stream = _side_stream(inputs[0].device)
        stream.wait_stream(torch.cuda.current_stream())
        try:
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP):
                    self._function(*static)
        finally:
            torch.cuda.current_stream().wait_stream(stream)
            self._restore(saved)
            torch.cuda.set_rng_state(random, inputs[0].device)
        graph = torch.cuda.CUDAGraph()
        # Graphs of several shapes share memory, since no two of them run at once.
        pool = next((capture.graph.pool() for capture in self._captures.values()), None)
        with (
            _undisturbed(),
            torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"),
        ):
            output = self._function(*static)
        return _Capture(graph, static, output)

    @torch.no_grad()
    def _restore(self, saved: dict[int, Tensor]) -> None:
        for tensor in self._state():
            if id(tensor) in saved:
                tensor.copy_(saved[id(tensor)])
            else:
                tensor.zero_()


def capturable_optimizer(
    kind: Callable[..., Optimizer], network: nn.Module, lr: float
) -> Optimizer:
    """Return an optimiser of a net's trainable parameters whose steps a graph can hold.

    On CUDA it is fused, and its rate is a tensor there; elsewhere it is torch's default.
    """
    parameters = [each for each in network.parameters() if each.requires_grad]
    device = parameters[0].device
    if device.type != "cuda":
        return kind(parameters, lr=lr)
    return kind(parameters, lr=torch.tensor(lr, device=device), fused=True, capturable=True)


def set_rate(optimizer: Optimizer, lr: float) -> None:
    """Set the learning rate of the next step, captured or not."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


def changed_by_step(network: nn.Module, optimizer: Optimizer) -> Iterator[Tensor]:
    """Yield the tensors that a training step changes: parameters, buffers and moments."""
    for group in optimizer.param_groups:
        yield from group["params"]
    yield from network.buffers()
    for moments in optimizer.state.values():
        yield from (value for value in moments.values() if isinstance(value, Tensor))


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """Return the stream of warm-up calls and captures: libraries keep a workspace per stream."""
    return torch.cuda.Stream(device)


def _forget_capture(device: torch.device) -> None:
    """Free the device's generator from a capture that failed before it was ended."""
    place = torch.cuda.current_device() if device.index is None else device.index
    generator = torch.cuda.default_generators[place]
    # A copy has the seed and the offset, and takes part in no capture.
    generator.graphsafe_set_state(generator.clone_state())


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Free no forgotten graphs during a capture, and go back to the present stream after it."""
    stream, collects = torch.cuda.current_stream(), gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        torch.cuda.set_stream(stream)  # A capture that fails leaves its own.
        if collects:
            gc.enable()
