"""Power spectra: power is conserved, known waves are found, blur and noise move them the right way."""

import numpy as np
import pytest

from galaxysd.data.toy_survey import random_galaxy, render
from galaxysd.errors import InputError
from galaxysd.metrics.controls import blurred
from galaxysd.metrics.power_spectrum import PLANES, mean_spectrum, power_spectra, spectrum_distance
from galaxysd.stats import TooFewGalaxies
from galaxysd.types import Pixels


def galaxies(n: int, seed: int) -> Pixels:
    rng = np.random.default_rng(seed)
    return np.stack([render(random_galaxy(rng), rng, 32) for _ in range(n)])


def white(n: int, deviation: float = 20.0) -> Pixels:
    return np.rint(np.random.default_rng(0).normal(128, deviation, (n, 32, 32, 3)).clip(0, 255)).astype(np.uint8)


@pytest.fixture(scope="module")
def real() -> Pixels:
    return galaxies(40, 0)


def test_parseval(real: Pixels) -> None:
    spectra = power_spectra(real)
    line = np.sin(np.pi * (np.arange(32) + 0.5) / 32) ** 2
    window = np.outer(line, line)
    for plane, values in zip(PLANES, [real.mean(axis=-1), *real.transpose(3, 0, 1, 2).astype(float)], strict=True):
        mean = (values * window).sum(axis=(1, 2), keepdims=True) / window.sum()
        variance = (((values - mean) * window) ** 2).sum(axis=(1, 2)) / (window**2).sum()
        power = spectra.power[:, PLANES.index(plane)] @ spectra.modes / 32**2
        assert power == pytest.approx(variance, rel=1e-9)
    assert spectra.modes.sum() == 32**2 - 1
    assert (np.diff(spectra.frequency) > 0).all()


def test_white_noise_is_flat_at_its_variance() -> None:
    power = power_spectra(white(100)).power.mean(axis=0)[:, 1:]  # the lowest frequency loses to the mean
    for plane, variance in (("red", 400), ("luminance", 400 / 3)):
        assert power[PLANES.index(plane)] == pytest.approx(np.full(power.shape[1], variance), rel=0.15)


@pytest.mark.parametrize("cycles", [4, 12])
def test_a_wave_is_found_at_its_frequency(cycles: int) -> None:
    wave = 100 + 50 * np.sin(2 * np.pi * cycles * np.arange(32) / 32)
    spectra = power_spectra(
        np.rint(np.broadcast_to(wave[:, None], (1, 3, 32, 32)).transpose(0, 2, 3, 1)).astype(np.uint8)
    )
    peak = spectra.frequency[spectra.power[0, 0].argmax()]
    assert peak == pytest.approx(cycles / 32, rel=0.15)


def test_orientation_and_order_change_nothing(real: Pixels) -> None:
    power = power_spectra(real).power
    assert power_spectra(np.rot90(real, axes=(1, 2))).power == pytest.approx(power, rel=1e-9)
    assert power_spectra(real[:, :, ::-1]).power == pytest.approx(power, rel=1e-9)
    assert np.array_equal(power_spectra(real[::-1]).power[::-1], power)


def test_a_set_against_itself_is_at_distance_zero(real: Pixels) -> None:
    found = spectrum_distance(power_spectra(real), power_spectra(real[::-1]), seed=0, resamples=20)
    assert found.distance.value == pytest.approx(0, abs=1e-12) and found.distance.high > 0
    assert found.ratio.value == pytest.approx(np.ones(len(found.ratio.value)))


def test_blur_lowers_and_noise_raises_high_frequencies(real: Pixels) -> None:
    grainy = (real + np.random.default_rng(1).normal(0, 8, real.shape)).clip(0, 255).astype(np.uint8)
    other, reference = galaxies(40, 1), power_spectra(real)
    real_baseline = spectrum_distance(power_spectra(other), reference, seed=0, resamples=20)
    for images, sign in ((blurred(other, 1.0), -1), (grainy, 1)):
        for plane in PLANES:
            found = spectrum_distance(power_spectra(images), reference, plane, seed=0, resamples=20)
            high, low = found.ratio.frequency > 0.25, found.ratio.frequency < 0.07
            assert (sign * np.log(found.ratio.value[high]) > 0.3).all(), plane
            assert (np.abs(np.log(found.ratio.value[low])) < np.log(2)).all(), plane
            assert found.distance.low > real_baseline.distance.value


def test_the_mean_lies_in_an_interval_that_shrinks_with_more_galaxies(real: Pixels) -> None:
    few, all_of_them = mean_spectrum(power_spectra(real[:10])), mean_spectrum(power_spectra(real))
    for curve in (few, all_of_them):
        assert (curve.low < curve.value).all() and (curve.value < curve.high).all()
    assert np.mean(all_of_them.high / all_of_them.low) < np.mean(few.high / few.low)


def test_black_images_have_finite_logarithms() -> None:
    assert mean_spectrum(power_spectra(np.zeros((10, 16, 16, 3), np.uint8))).value == pytest.approx(1 / 12)


def test_bad_input(real: Pixels) -> None:
    with pytest.raises(TooFewGalaxies, match="9 galaxies, at least 10"):
        mean_spectrum(power_spectra(real[:9]))
    with pytest.raises(InputError, match="compare images of one size"):
        spectrum_distance(power_spectra(real), power_spectra(real[:, :16, :16]), seed=0)
    with pytest.raises(InputError, match="expected uint8"):
        power_spectra(real[..., 0])
