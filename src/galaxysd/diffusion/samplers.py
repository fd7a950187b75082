"""From noise to latents: three solvers of the flow's differential equation, as plain loops.

    dx/ds = (x - D(x, s)) / s        from s near 1 down to 0 (flow.py)

`euler` (order 1), `heun` (order 2, two evaluations a step: Karras et al. 2022, algorithm 1) and `dpm++2m` (multistep of
order 2, one evaluation a step: Lu et al. 2022, arXiv 2211.01095, algorithm 2). All use the same grid of noise levels
(`flow.time_grid`). Tests compare them with the schedulers of diffusers.
"""

import itertools
import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from galaxysd.diffusion.flow import time_grid, velocity
from galaxysd.errors import InputError

Sampler = Literal["euler", "heun", "dpm++2m"]
SAMPLERS: tuple[str, ...] = get_args(Sampler)

Denoise = Callable[[Tensor, Tensor], Tensor]
Watch = Callable[[int, int, Tensor], bool | None]
Step = Callable[[Denoise, Tensor, Tensor, float, float], Tensor]


class Cancelled(Exception):
    """A watcher asked to stop."""


def sample(denoise: Denoise, noise: Tensor, sampler: str, steps: int, *, watch: Watch | None = None) -> Tensor:
    """Integrate from pure noise to clean latents.

    Args:
        denoise: D(x_s, s) for a batch [B, C, h, w] and levels [B].
        noise: [B, C, h, w], standard normal.
        sampler: euler, heun or dpm++2m.
        steps: noise levels, 1 to 1000.
        watch: called after every step with the step (from 1), the number of steps and the latents expected so far; it
            may return True to cancel. It changes no value.

    Returns:
        [B, C, h, w] in the units of the denoiser.

    Raises:
        InputError: an unknown sampler, or a number of steps out of range.
        Cancelled: `watch` returned True.
    """
    if sampler not in SAMPLERS:
        raise InputError(f"sampler {sampler!r} is not one of {', '.join(SAMPLERS)}")
    if not 1 <= steps <= 1000:
        raise InputError(f"steps must lie between 1 and 1000, not {steps}")
    levels = [*time_grid(steps), 0.0]
    state = levels[0] * noise  # x_s without its share of image, see flow.time_grid
    solvers: dict[str, Step] = {"euler": _euler, "heun": _heun, "dpm++2m": _DPMSolver()}
    step = solvers[sampler]
    for number, (now, then) in enumerate(itertools.pairwise(levels), 1):
        denoised = denoise(state, _column(now, state))
        state = step(denoise, state, denoised, now, then)
        if watch is not None and watch(number, steps, denoised):
            raise Cancelled
    return state


def _column(level: float, state: Tensor) -> Tensor:
    return torch.full((len(state),), level, device=state.device, dtype=state.dtype)


def _euler(denoise: Denoise, state: Tensor, denoised: Tensor, now: float, then: float) -> Tensor:
    return state + (then - now) * velocity(state, denoised, _column(now, state))


def _heun(denoise: Denoise, state: Tensor, denoised: Tensor, now: float, then: float) -> Tensor:
    first = velocity(state, denoised, _column(now, state))
    guess = state + (then - now) * first
    if then == 0:
        return guess
    second = velocity(guess, denoise(guess, _column(then, guess)), _column(then, guess))
    return state + (then - now) * (first + second) / 2


class _DPMSolver:
    """DPM-Solver++(2M): the denoised latents are taken as linear in lambda = log((1 - s) / s) over two steps."""

    def __init__(self) -> None:
        self.earlier: tuple[Tensor, float] | None = None  # denoised latents and lambda of the step before

    def __call__(self, denoise: Denoise, state: Tensor, denoised: Tensor, now: float, then: float) -> Tensor:
        if then == 0:
            return denoised
        lambda_now, lambda_then = math.log((1 - now) / now), math.log((1 - then) / then)
        h = lambda_then - lambda_now
        estimate = denoised
        if self.earlier is not None:
            before, lambda_before = self.earlier
            r = (lambda_now - lambda_before) / h
            estimate = denoised + (denoised - before) / (2 * r)  # algorithm 2, line 8
        self.earlier = denoised, lambda_now
        return (then / now) * state - (1 - then) * math.expm1(-h) * estimate
