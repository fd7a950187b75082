"""The noise process: its algebra, levels and grid."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from galaxysd.diffusion import flow

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
def test_time_grid_falls_from_nearly_pure_noise_to_what_the_decoder_knows(steps: int) -> None:
    grid = flow.time_grid(steps)
    assert len(grid) == steps and grid[0] == pytest.approx(40 / 41)
    assert all(later < earlier for earlier, later in itertools.pairwise(grid))
    assert grid[-1] == pytest.approx(0.06 / 1.06)
