"""Sharpness: blur lowers it, grain raises it."""

import numpy as np
import pytest

from galaxysd.errors import InputError
from galaxysd.metrics.controls import blurred
from galaxysd.metrics.sharpness import laplacian_energy, ratio_of_means


def images(n: int = 12) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 24, 24, 3), np.uint8)


def test_blur_lowers_the_energy_and_a_plane_has_none() -> None:
    sharp = images()
    weak, strong = (laplacian_energy(blurred(sharp, sigma)) for sigma in (0.5, 1.5))
    assert (laplacian_energy(sharp) > weak).all() and (weak > strong).all()
    ramp = np.broadcast_to(np.arange(24, dtype=np.uint8)[:, None, None], (2, 24, 24, 3))
    assert laplacian_energy(ramp) == pytest.approx(0)


def test_grain_raises_the_energy() -> None:
    smooth = blurred(images(), 2.0)
    grain = np.random.default_rng(1).integers(0, 9, smooth.shape)
    assert (laplacian_energy((smooth + grain).clip(0, 255).astype(np.uint8)) > laplacian_energy(smooth)).all()


def test_the_energy_is_that_of_the_five_point_laplacian() -> None:
    one = np.zeros((1, 5, 5, 3), np.uint8)
    one[0, 2, 2] = 1
    inner = np.array([0, 1, 0, 1, -4, 1, 0, 1, 0], float)
    assert laplacian_energy(one)[0] == pytest.approx(inner.var())


def test_the_ratio_is_one_for_equal_samples() -> None:
    energy = laplacian_energy(images(40))
    found = ratio_of_means(energy, energy, seed=0)
    assert found.value == pytest.approx(1) and found.low < 1 < found.high
    assert ratio_of_means(energy / 2, energy, seed=0).value == pytest.approx(0.5)


def test_other_arrays_are_refused() -> None:
    with pytest.raises(InputError, match="uint8"):
        laplacian_energy(images().astype(float))  # type: ignore[arg-type]
