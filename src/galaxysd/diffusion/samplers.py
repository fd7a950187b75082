"""From noise to image: the diffusers schedulers on our grid of noise levels.

`euler` (order 1), `heun` (order 2, two evaluations a step) and `dpm++2m` (multistep order 2, one evaluation a step, Lu
et al. 2022, arXiv 2211.01095). Each gets the same grid (`flow.time_grid`); the schedulers' own grids stop far above
the noise of a galaxy image's sky, which is what leaves a sample without texture.

Those three follow the ODE of a denoiser that draws means. `drawing` is for one that was trained against a critic
(adversarial.py): dpm++2m down to the level where its means end, then a drawing, which fresh noise takes back to the
next lower level for the next drawing, as in the multistep sampling of consistency models (Song et al. 2023, arXiv
2303.01469, algorithm 1).
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias, get_args

import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
)
from torch import Tensor

from galaxysd.diffusion.flow import add_noise, time_grid, velocity
from galaxysd.errors import InputError

Sampler = Literal["euler", "heun", "dpm++2m", "drawing"]
SAMPLERS: tuple[str, ...] = get_args(Sampler)
CHANGE = 0.0  # log noise to signal where means end and drawings begin
LAST_DRAWING = 0.2  # noise to signal of the last drawing: below it there is nothing to invent
Scheduler: TypeAlias = FlowMatchEulerDiscreteScheduler | FlowMatchHeunDiscreteScheduler | DPMSolverMultistepScheduler


def make_scheduler(sampler: str, steps: int) -> Scheduler:
    """A diffusers scheduler for the ODE, with `steps` levels of our grid (fewer for `drawing`: see `drawing_levels`).

    Raises:
        InputError: an unknown sampler, or a number of steps outside 1 (`drawing`: 2) to 1000.
    """
    if sampler not in SAMPLERS:
        raise InputError(f"sampler {sampler!r} is not one of {', '.join(SAMPLERS)}")
    if not 1 <= steps <= 1000:
        raise InputError(f"steps must lie between 1 and 1000, not {steps}")
    if sampler == "drawing" and steps < 2:
        raise InputError("sampler 'drawing' needs at least 2 steps, one of each kind")
    levels = [*time_grid(steps), 0.0]
    if sampler == "drawing":
        levels = time_grid(steps - len(drawing_levels(sampler, steps)) + 1, sigma_min=math.exp(CHANGE))
    scheduler: Scheduler
    if sampler == "euler":
        scheduler = FlowMatchEulerDiscreteScheduler()
        scheduler.set_timesteps(sigmas=levels[:-1])
        return scheduler
    if sampler == "heun":
        scheduler = FlowMatchHeunDiscreteScheduler()
        scheduler.set_timesteps(steps)
        # Every level but the first is visited twice: as the end of one step and the start of the next.
        inner = [level for level in levels[1:-1] for _ in range(2)]
        scheduler.sigmas = torch.tensor([levels[0], *inner, 0.0])
        scheduler.timesteps = torch.tensor([levels[0], *inner]) * scheduler.config.num_train_timesteps
        scheduler.set_begin_index(0)
        return scheduler
    scheduler = DPMSolverMultistepScheduler(
        use_flow_sigmas=True, prediction_type="flow_prediction", algorithm_type="dpmsolver++", solver_order=2
    )
    scheduler.set_timesteps(steps)
    scheduler.sigmas = torch.tensor(levels)
    scheduler.timesteps = scheduler.sigmas[:-1] * scheduler.config.num_train_timesteps
    scheduler.set_begin_index(0)
    return scheduler


def drawing_levels(sampler: str, steps: int) -> list[float]:
    """Noise levels s of the drawings after the ODE: a third of the steps for `drawing`, else none."""
    if sampler != "drawing":
        return []
    return time_grid((steps + 1) // 3 or 1, sigma_max=math.exp(CHANGE), sigma_min=LAST_DRAWING)


def sample(
    denoise: Callable[[Tensor, Tensor], Tensor], noise: Tensor, scheduler: Scheduler, drawings: Sequence[float] = ()
) -> Tensor:
    """Integrate from pure noise to an image.

    Args:
        denoise: D(x_s, s) for a batch [B, 3, S, S] and levels [B].
        noise: [B, max(1, number of drawings), 3, S, S], standard normal.
        scheduler: from `make_scheduler`; used once.
        drawings: from `drawing_levels`; the scheduler's last level is the first of them.

    Returns:
        [B, 3, S, S] in the units of the denoiser.
    """
    state = float(scheduler.sigmas[0]) * noise[:, 0]  # x_s without its share of image, see flow.time_grid
    for timestep in scheduler.timesteps:
        level = (timestep / scheduler.config.num_train_timesteps).to(state).expand(len(state))
        change = velocity(state, denoise(state, level), level)
        state = scheduler.step(change, timestep, state, return_dict=False)[0]
    for index, at in enumerate(drawings):
        level = torch.full((len(state),), at, device=state.device)
        if index > 0:
            state = add_noise(state, noise[:, index], level)
        state = denoise(state, level)
    return state
