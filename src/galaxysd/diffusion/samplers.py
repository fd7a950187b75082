"""From noise to image: the diffusers schedulers on our grid of noise levels.

`euler` (order 1), `heun` (order 2, two evaluations a step) and `dpm++2m` (multistep order 2, one evaluation a step, Lu
et al. 2022, arXiv 2211.01095). Each gets the same grid (`flow.time_grid`); the schedulers' own grids stop far above
the noise of a galaxy image's sky, which is what leaves a sample without texture.
"""

from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
)
from torch import Tensor

from galaxysd.diffusion.flow import time_grid, velocity
from galaxysd.errors import InputError

Sampler = Literal["euler", "heun", "dpm++2m"]
SAMPLERS: tuple[str, ...] = get_args(Sampler)
Scheduler: TypeAlias = FlowMatchEulerDiscreteScheduler | FlowMatchHeunDiscreteScheduler | DPMSolverMultistepScheduler


def make_scheduler(sampler: str, steps: int) -> Scheduler:
    """A diffusers scheduler with `steps` levels of our grid.

    Raises:
        InputError: an unknown sampler, or a number of steps outside 1 to 1000.
    """
    if sampler not in SAMPLERS:
        raise InputError(f"sampler {sampler!r} is not one of {', '.join(SAMPLERS)}")
    if not 1 <= steps <= 1000:
        raise InputError(f"steps must lie between 1 and 1000, not {steps}")
    levels = time_grid(steps)
    scheduler: Scheduler
    if sampler == "euler":
        scheduler = FlowMatchEulerDiscreteScheduler()
        scheduler.set_timesteps(sigmas=levels)
        return scheduler
    if sampler == "heun":
        scheduler = FlowMatchHeunDiscreteScheduler()
        scheduler.set_timesteps(steps)
        # Every level but the first is visited twice: as the end of one step and the start of the next.
        inner = [level for level in levels[1:] for _ in range(2)]
        scheduler.sigmas = torch.tensor([levels[0], *inner, 0.0])
        scheduler.timesteps = torch.tensor([levels[0], *inner]) * scheduler.config.num_train_timesteps
        scheduler.set_begin_index(0)
        return scheduler
    scheduler = DPMSolverMultistepScheduler(
        use_flow_sigmas=True, prediction_type="flow_prediction", algorithm_type="dpmsolver++", solver_order=2
    )
    scheduler.set_timesteps(steps)
    scheduler.sigmas = torch.tensor([*levels, 0.0])
    scheduler.timesteps = scheduler.sigmas[:-1] * scheduler.config.num_train_timesteps
    scheduler.set_begin_index(0)
    return scheduler


def sample(denoise: Callable[[Tensor, Tensor], Tensor], noise: Tensor, scheduler: Scheduler) -> Tensor:
    """Integrate from pure noise to an image.

    Args:
        denoise: D(x_s, s) for a batch [B, 3, S, S] and levels [B].
        noise: [B, 3, S, S], standard normal.
        scheduler: from `make_scheduler`; used once.

    Returns:
        [B, 3, S, S] in the units of the denoiser.
    """
    state = float(scheduler.sigmas[0]) * noise  # x_s without its share of image, see flow.time_grid
    for timestep in scheduler.timesteps:
        level = (timestep / scheduler.config.num_train_timesteps).to(state).expand(len(state))
        change = velocity(state, denoise(state, level), level)
        state = scheduler.step(change, timestep, state, return_dict=False)[0]
    return state
