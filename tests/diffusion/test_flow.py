"""The noise process: algebra, and moments of a distribution whose denoiser is known exactly."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from galaxysd.diffusion import flow
from galaxysd.diffusion.samplers import SAMPLERS, make_scheduler, sample
from galaxysd.errors import InputError

levels = st.floats(min_value=0.01, max_value=1.0)


@given(level=levels, seed=st.integers(0, 1000))
def test_velocity_of_the_true_image_is_noise_minus_image(level: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn((2, 3, 4, 4), generator=generator, dtype=torch.float64)
    noise = torch.randn((2, 3, 4, 4), generator=generator, dtype=torch.float64)
    s = torch.full((2,), level, dtype=torch.float64)
    assert torch.allclose(flow.velocity(flow.add_noise(image, noise, s), image, s), noise - image, atol=1e-9)


def test_ends_of_the_path() -> None:
    image, noise = torch.rand(1, 3, 2, 2), torch.rand(1, 3, 2, 2)
    assert torch.equal(flow.add_noise(image, noise, torch.zeros(1)), image)
    assert torch.equal(flow.add_noise(image, noise, torch.ones(1)), noise)


def test_input_scale_gives_unit_variance() -> None:
    generator = torch.Generator().manual_seed(0)
    images = 0.2 * torch.randn((4000, 1, 2, 2), generator=generator)
    noise = torch.randn(images.shape, generator=generator)
    for value in (0.01, 0.2, 0.7, 1.0):
        s = torch.full((len(images),), value)
        scaled = flow.input_scale(s, 0.2) * flow.add_noise(images, noise, s)
        assert float(scaled.std()) == pytest.approx(1.0, abs=0.03)


def test_loss_weight_is_the_inverse_error_of_the_best_guess_and_bounded() -> None:
    # For data N(0, d^2) the best denoiser has error s d / r; the weight makes that 1 at every level.
    s, d = torch.tensor([0.3, 0.6, 1.0]), 0.2
    best = (s * d) ** 2 / (s**2 + d**2 * (1 - s) ** 2)
    assert torch.allclose(flow.loss_weight(s, d, 1e-6).flatten() * best, torch.ones(3), atol=1e-5)
    assert float(flow.loss_weight(torch.tensor([1e-4]), d, 0.03)) == pytest.approx(1 / 0.03**2)


def test_training_levels_follow_the_logistic_normal() -> None:
    drawn = flow.sample_levels(4096, -1.2, 1.6, torch.Generator().manual_seed(0))
    logit = torch.logit(drawn)
    assert float(logit.mean()) == pytest.approx(-1.2, abs=0.02)
    assert float(logit.std()) == pytest.approx(1.6, abs=0.03)
    assert float(drawn.min()) > 0 and float(drawn.max()) < 1


@given(steps=st.integers(2, 60))
def test_time_grid_falls_from_nearly_pure_noise_to_below_the_sky(steps: int) -> None:
    grid = flow.time_grid(steps)
    assert len(grid) == steps and grid[0] == pytest.approx(80 / 81)
    assert all(later < earlier for earlier, later in itertools.pairwise(grid))
    assert grid[-1] == pytest.approx(0.01 / 1.01)


@pytest.mark.parametrize(("sampler", "steps"), [("euler", 160), ("heun", 30), ("dpm++2m", 16)])
def test_samplers_recover_a_gaussian(sampler: str, steps: int) -> None:
    """Toy truth: for data N(m, d^2) the denoiser is known, so the samples must have mean m and spread d."""
    mean, spread = 0.3, 0.15

    def exact(noisy: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        s = level[:, None, None, None]
        variance = (1 - s) ** 2 * spread**2 + s**2
        return mean + (1 - s) * spread**2 / variance * (noisy - (1 - s) * mean)

    noise = torch.randn((64, 3, 16, 16), generator=torch.Generator().manual_seed(1))
    drawn = sample(exact, noise, make_scheduler(sampler, steps))
    assert float(drawn.mean()) == pytest.approx(mean, abs=0.005)
    assert float(drawn.std()) == pytest.approx(spread, rel=0.06)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_one_step_gives_the_mean(sampler: str) -> None:
    drawn = sample(
        lambda noisy, level: torch.full_like(noisy, 0.25), torch.randn(2, 3, 4, 4), make_scheduler(sampler, 1)
    )
    assert torch.allclose(drawn, torch.full_like(drawn, 0.25), atol=1e-3)


def test_unknown_sampler_and_absurd_steps() -> None:
    with pytest.raises(InputError, match="'rk4' is not one of euler, heun, dpm"):
        make_scheduler("rk4", 10)
    with pytest.raises(InputError, match="between 1 and 1000, not 0"):
        make_scheduler("euler", 0)
