"""The probability-flow ordinary differential equation (Song et al. 2021, eq. 13).

In the coordinates of the nets, y = cos(a) x(0) + sin(a) epsilon with a = arctan(sigma / alpha), it
is dy/da = v for every process, where v is the velocity (Salimans and Ho 2022, appendix D): a
process only says which angle belongs to which time.
"""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

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
    states = solve_each(rates, noise.flatten(1).cpu().double().numpy(), angles, tolerance)
    for state in states:
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
        variables: at which states are wanted, in order.
        tolerance: of a step, relative and absolute.

    Returns:
        States at each variable but the first, float64 (len(variables) - 1, N, d); NaN where a
        solver could not go on.
    """
    # A training, whose previews come this way, starts without scipy.
    from scipy.integrate import solve_ivp

    count = len(states)
    solved = np.full((len(variables) - 1, *states.shape), np.nan)
    at, wanted, slopes = np.full(count, variables[0]), states.copy(), np.empty_like(states)
    done, meeting = np.zeros(count, bool), threading.Barrier(count + 1)

    def derivative(place: int, variable: float, state: np.ndarray) -> np.ndarray:
        at[place], wanted[place] = variable, state
        meeting.wait()  # All want derivatives,
        meeting.wait()  # and have them.
        return slopes[place].copy()

    def solve(place: int) -> None:
        solution = solve_ivp(
            lambda variable, state: derivative(place, variable, state),
            (variables[0], variables[-1]),
            states[place],
            t_eval=variables[1:],
            rtol=tolerance,
            atol=tolerance,
        )
        if solution.success:
            solved[:, place] = solution.y.T
        done[place] = True
        while meeting.wait() >= 0 and not done.all():
            meeting.wait()

    with ThreadPoolExecutor(count) as pool:
        solvers = [pool.submit(solve, place) for place in range(count)]
        try:
            while meeting.wait() >= 0 and not done.all():
                slopes[:] = rates(at, wanted)
                meeting.wait()
        except BaseException:
            meeting.abort()
            raise
    for solver in solvers:
        solver.result()
    return solved


def _velocity(denoise: Denoise, images: Tensor, process: Process, time: float) -> Tensor:
    signal, noise = process.parts(time)
    return (signal * images - denoise(images, time)) / noise
