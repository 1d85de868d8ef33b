"""The probability-flow ordinary differential equation (Song et al. 2021, eq. 13).

In the coordinates of the nets, y = cos(a) x(0) + sin(a) epsilon with a = arctan(sigma / alpha), it
is dy/da = v for every process, where v is the velocity (Salimans and Ho 2022, appendix D): a
process only says which angle belongs to which time.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from itertools import pairwise
from threading import Barrier

import numpy as np
import torch
from torch import Tensor

from meddiff.diffusion.process import Process
from meddiff.diffusion.sampling.samplers import Denoise, Draw, Times

Rates = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From variables (N,) and states (N,d) to their derivatives (N,d), float64."""


def heun(
    denoise: Denoise, noise: Tensor, process: Process, times: Times, draw: Draw
) -> Iterator[Tensor]:
    """Solve the equation by Heun's method, of second order.

    The last step goes to the estimate of the clean images. `noise` is standard normal, (N,C,H,W),
    and `draw` is not called.
    """
    images = noise
    for time, after in pairwise(times):
        step = process.angle(after) - process.angle(time)
        slope = _velocity(denoise, images, process, time)
        ahead = _velocity(denoise, images + step * slope, process, after)
        images = images + step / 2 * (slope + ahead)
        yield images
    yield denoise(images, times[-1])


def adaptive(
    denoise: Denoise, noise: Tensor, process: Process, times: Times, draw: Draw, *, tolerance: float
) -> Iterator[Tensor]:
    """Solve the equation of each image by steps of its own (scipy's Runge-Kutta 5(4)).

    Images are wanted at each time but the first; otherwise as `heun`.

    Args:
        denoise: also takes a time for each image.
        tolerance: of a step, relative and absolute.
    """

    def rates(angles: np.ndarray, states: np.ndarray) -> np.ndarray:
        places = [process.time_of(math.log(math.tan(angle))) for angle in angles]
        images = torch.from_numpy(states).to(noise).reshape(noise.shape)
        clean = denoise(images, places)
        cosine, sine = (
            torch.from_numpy(part).to(noise).reshape(-1, 1, 1, 1)
            for part in (np.cos(angles), np.sin(angles))
        )
        return ((cosine * images - clean) / sine).flatten(1).cpu().double().numpy()

    angles = [process.angle(time) for time in times]
    images = noise
    for state in solve_each(rates, noise.flatten(1).cpu().double().numpy(), angles, tolerance):
        images = torch.from_numpy(state).to(noise).reshape(noise.shape)
        yield images
    yield denoise(images, times[-1])


def solve_each(
    rates: Rates, states: np.ndarray, variables: Sequence[float], tolerance: float
) -> np.ndarray:
    """Solve a differential equation for each of several states by steps of its own.

    The solvers run side by side and wait for one another, so that all derivatives are computed
    together, as a net wants them, and yet no state depends on another's steps.

    Args:
        rates: derivatives at a variable of each state. It is called in this thread.
        states: at the first variable, float64 (N,d).
        variables: at which states are wanted, in order; some may be the same.
        tolerance: of a step, relative and absolute.

    Returns:
        States at each variable but the first, float64 (len(variables) - 1, N, d); NaN where a
        solver could not go on, as from derivatives that are not finite.
    """
    # A training, whose previews come this way, starts without scipy.
    from scipy.integrate import solve_ivp

    stops = list(dict.fromkeys(variables))
    if len(stops) == 1:
        return np.repeat(states[None], len(variables) - 1, axis=0)
    solved = np.full((len(stops), *states.shape), np.nan)
    solved[0] = states
    meeting = _Meeting(states, stops[0])

    def solve(place: int) -> None:
        with meeting.solver(place) as derivative:
            solution = solve_ivp(
                derivative,
                (stops[0], stops[-1]),
                states[place],
                t_eval=stops[1:],
                rtol=tolerance,
                atol=tolerance,
            )
            if solution.success:
                solved[1:, place] = solution.y.T

    with ThreadPoolExecutor(len(states)) as pool, meeting:
        solvers = [pool.submit(solve, place) for place in range(len(states))]
        meeting.serve(rates)
    for solver in solvers:
        solver.result()
    return solved[[stops.index(variable) for variable in variables[1:]]]


class _NotFinite(Exception):
    """A derivative is not finite."""


class _Meeting:
    """Where solvers wait for one another; a context manager that sends them home after an error."""

    def __init__(self, states: np.ndarray, variable: float) -> None:
        self._at, self._wanted = np.full(len(states), variable), states.copy()
        self._slopes = np.empty_like(states)
        self._left, self._barrier = np.zeros(len(states), bool), Barrier(len(states) + 1)

    def __enter__(self) -> "_Meeting":
        return self

    def __exit__(self, kind: type[BaseException] | None, *failure: object) -> None:
        if kind:
            self._barrier.abort()

    @contextmanager
    def solver(self, place: int) -> Iterator[Callable[[float, np.ndarray], np.ndarray]]:
        """Yield the derivative of a state for its solver; however that ends, the others go on.

        A derivative that is not finite ends the solver, which would shorten its step for ever.
        """
        with suppress(_NotFinite):
            try:
                yield partial(self._derivative, place)
            finally:
                self._left[place] = True
                while self._barrier.wait() >= 0 and not self._left.all():
                    self._barrier.wait()

    def _derivative(self, place: int, variable: float, state: np.ndarray) -> np.ndarray:
        self._at[place], self._wanted[place] = variable, state
        self._barrier.wait()  # All want derivatives,
        self._barrier.wait()  # and have them.
        if not np.isfinite(self._slopes[place]).all():
            raise _NotFinite
        return self._slopes[place].copy()

    def serve(self, rates: Rates) -> None:
        """Compute derivatives until every solver has left."""
        while self._barrier.wait() >= 0 and not self._left.all():
            self._slopes[:] = rates(self._at, self._wanted)
            self._barrier.wait()


def _velocity(denoise: Denoise, images: Tensor, process: Process, time: float) -> Tensor:
    signal, noise = process.parts(time)
    return (signal * images - denoise(images, time)) / noise
