"""Grid peaks: a pattern of squares shows at its own period, and noise shows none."""

import numpy as np
import pytest

from galaxysd.errors import InputError
from galaxysd.metrics.controls import blurred
from galaxysd.metrics.grid import PERIODS, grid_peaks


def images(n: int = 48, side: int = 32) -> np.ndarray:
    values = np.random.default_rng(0).normal(60, 12, (n, side, side, 3))
    return values.clip(0, 255).astype(np.uint8)


def patterned(period: int, strength: int = 12) -> np.ndarray:
    plain = images()
    axis = np.arange(plain.shape[1]) // (period // 2)
    return (plain + (((axis[:, None] + axis) % 2)[..., None] * strength)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("period", PERIODS)
def test_noise_has_no_peak(period: int) -> None:
    assert 0.5 < grid_peaks(images(), period, seed=0, resamples=20).value < 2.5


@pytest.mark.parametrize("period", PERIODS)
def test_a_checkerboard_raises_the_peak_of_its_own_period(period: int) -> None:
    found = {one: grid_peaks(patterned(period), one, seed=0, resamples=20) for one in PERIODS}
    assert found[period].low > 5
    assert max(found, key=lambda one: found[one].value) == period


def test_blur_is_no_pattern() -> None:
    assert grid_peaks(blurred(images(), 0.7), 4, seed=0, resamples=20).value < 2.5


def test_a_side_that_is_no_multiple_is_refused() -> None:
    with pytest.raises(InputError, match="no multiple of the period of 8"):
        grid_peaks(images(side=36), 8, seed=0)
