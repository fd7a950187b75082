"""The samplers: against a known truth, against diffusers on the same grid, and watched."""

from typing import Any

import pytest
import torch
from torch import Tensor

from galaxysd.diffusion import flow
from galaxysd.diffusion.samplers import SAMPLERS, Cancelled, sample
from galaxysd.errors import InputError


def noise(count: int = 2, size: int = 4, seed: int = 0) -> Tensor:
    return torch.randn((count, 4, size, size), generator=torch.Generator().manual_seed(seed))


def two_lumps(noisy: Tensor, level: Tensor) -> Tensor:
    """The exact denoiser of latents that are 1 or -1, each blurred by 0.3: far from linear."""
    s = level[:, None, None, None]
    variance = (1 - s) ** 2 * 0.09 + s**2
    pull = torch.tanh((1 - s) * noisy / variance)
    return pull + (1 - s) * 0.09 / variance * (noisy - (1 - s) * pull)


@pytest.mark.parametrize(("sampler", "steps"), [("euler", 160), ("heun", 30), ("dpm++2m", 16)])
def test_samplers_recover_a_gaussian(sampler: str, steps: int) -> None:
    """Toy truth: for data N(m, d^2) the denoiser is known, so the samples must have mean m and spread d."""
    mean, spread = 0.3, 0.9  # of the order of latents

    def exact(noisy: Tensor, level: Tensor) -> Tensor:
        s = level[:, None, None, None]
        variance = (1 - s) ** 2 * spread**2 + s**2
        return mean + (1 - s) * spread**2 / variance * (noisy - (1 - s) * mean)

    drawn = sample(exact, noise(64, 16, seed=1), sampler, steps)
    assert float(drawn.mean()) == pytest.approx(mean, abs=0.02)
    assert float(drawn.std()) == pytest.approx(spread, rel=0.06)


def diffusers_scheduler(sampler: str, steps: int) -> Any:
    """The scheduler of diffusers that should do the same, on our grid of levels."""
    import diffusers

    levels = flow.time_grid(steps)
    if sampler == "euler":
        scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
        scheduler.set_timesteps(sigmas=levels)
        return scheduler
    if sampler == "heun":
        scheduler = diffusers.FlowMatchHeunDiscreteScheduler()
        scheduler.set_timesteps(steps)
        # Every level but the first is visited twice: as the end of one step and the start of the next.
        inner = [level for level in levels[1:] for _ in range(2)]
        scheduler.sigmas = torch.tensor([levels[0], *inner, 0.0])
        scheduler.timesteps = torch.tensor([levels[0], *inner]) * scheduler.config.num_train_timesteps
        scheduler.set_begin_index(0)
        return scheduler
    scheduler = diffusers.DPMSolverMultistepScheduler(
        use_flow_sigmas=True, prediction_type="flow_prediction", algorithm_type="dpmsolver++", solver_order=2
    )
    scheduler.set_timesteps(steps)
    scheduler.sigmas = torch.tensor([*levels, 0.0])
    scheduler.timesteps = scheduler.sigmas[:-1] * scheduler.config.num_train_timesteps
    scheduler.set_begin_index(0)
    return scheduler


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of diffusers
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 8, 20])
def test_diffusers_draws_the_same(sampler: str, steps: int) -> None:
    scheduler = diffusers_scheduler(sampler, steps)
    state = float(scheduler.sigmas[0]) * noise()
    for timestep in scheduler.timesteps:
        level = (timestep / scheduler.config.num_train_timesteps).to(state).expand(len(state))
        change = flow.velocity(state, two_lumps(state, level), level)
        state = scheduler.step(change, timestep, state, return_dict=False)[0]
    assert torch.allclose(sample(two_lumps, noise(), sampler, steps), state, atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_one_step_gives_the_mean(sampler: str) -> None:
    drawn = sample(lambda noisy, level: torch.full_like(noisy, 0.25), noise(), sampler, 1)
    assert torch.allclose(drawn, torch.full_like(drawn, 0.25), atol=1e-3)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_watcher_sees_every_step_and_changes_nothing(sampler: str) -> None:
    seen = []

    def watch(step: int, steps: int, latents: Tensor) -> None:
        seen.append((step, steps))
        assert latents.shape == (2, 4, 4, 4)

    assert torch.equal(sample(two_lumps, noise(), sampler, 5, watch=watch), sample(two_lumps, noise(), sampler, 5))
    assert seen == [(step, 5) for step in range(1, 6)]


def test_a_watcher_may_cancel() -> None:
    passes = []

    def counted(noisy: Tensor, level: Tensor) -> Tensor:
        passes.append(float(level[0]))
        return two_lumps(noisy, level)

    with pytest.raises(Cancelled):
        sample(counted, noise(), "dpm++2m", 8, watch=lambda step, steps, latents: step == 3)
    assert len(passes) == 3


def test_unknown_sampler_and_absurd_steps() -> None:
    with pytest.raises(InputError, match="'rk4' is not one of euler, heun, dpm"):
        sample(two_lumps, noise(), "rk4", 10)
    for steps in (0, 1001):
        with pytest.raises(InputError, match=f"between 1 and 1000, not {steps}"):
            sample(two_lumps, noise(), "euler", steps)
