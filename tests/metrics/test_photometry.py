"""Photometry: known light and colours are found, and differences are given in 8-bit steps."""

import numpy as np
import pytest

from galaxysd.errors import InputError
from galaxysd.metrics.morphology import compare_tables
from galaxysd.metrics.photometry import BANDS, PARAMETERS, histogram_distance, measure_light, pixel_histograms
from galaxysd.stats import TooFewGalaxies
from galaxysd.types import Pixels

SIDE = 64


def drawn(peak: tuple[float, float, float] = (120, 100, 60), level: float = 10.0, noise: float = 2.0) -> Pixels:
    """A round Gaussian galaxy of deviation 6 px with its peak per plane, on a noisy sky: uint8 [S, S, 3]."""
    axis = np.arange(SIDE) - (SIDE - 1) / 2
    light = np.exp(-0.5 * (axis[:, None] ** 2 + axis**2) / 6.0**2)[..., None] * np.array(peak)
    sky = np.random.default_rng(0).normal(level, noise, (SIDE, SIDE, 3))
    return np.rint((light + sky).clip(0, 255)).astype(np.uint8)


def row(image: Pixels) -> dict[str, float]:
    table = measure_light(image[None])
    assert table["measured"][0], table["reason"][0]
    return table.row(0, named=True)


def test_a_known_galaxy() -> None:
    found = row(drawn())
    assert found["total_light"] == pytest.approx(280 / 3 * 2 * np.pi * 6**2, rel=0.03)
    assert found["g_r"] == pytest.approx(-2.5 * np.log10(60 / 100), abs=0.03)
    assert found["r_i"] == pytest.approx(-2.5 * np.log10(100 / 120), abs=0.03)
    assert found["sky_level"] == pytest.approx(10, abs=0.7)
    assert found["sky_noise"] == pytest.approx(2.0, rel=0.15)


def test_direction() -> None:
    plain = row(drawn())
    assert row(drawn(peak=(120, 100, 40)))["g_r"] - plain["g_r"] > 0.3  # redder
    assert row(drawn(peak=(160, 100, 60)))["r_i"] - plain["r_i"] > 0.2
    assert row(drawn(peak=(60, 50, 30)))["total_light"] == pytest.approx(plain["total_light"] / 2, rel=0.05)
    assert row(drawn(level=20))["sky_level"] - plain["sky_level"] == pytest.approx(10, abs=0.5)
    assert row(drawn(noise=4.0))["sky_noise"] == pytest.approx(2 * plain["sky_noise"], rel=0.15)
    assert row(drawn(level=20))["g_r"] == pytest.approx(plain["g_r"], abs=0.02)  # the sky has no say in colour


def test_orientation_changes_nothing() -> None:
    image = drawn()
    table = measure_light(np.stack([np.rot90(one, turns) for one in (image, image[:, ::-1]) for turns in range(4)]))
    for name in PARAMETERS:
        assert np.ptp(table[name].to_numpy()) < 1e-6 * abs(table[name][0]), name


def test_what_cannot_be_measured_has_a_reason() -> None:
    black, no_blue = np.zeros((SIDE, SIDE, 3), np.uint8), drawn()
    no_blue[..., 2] = 0
    table = measure_light(np.stack([black, no_blue, drawn()]))
    assert table["reason"].to_list() == ["no light above the sky", "no blue light above the sky", None]
    assert table["measured"].to_list() == [False, False, True]
    assert table["sky_level"].null_count() == 2


def test_tables_are_compared_like_those_of_morphology() -> None:
    images = np.stack([drawn(peak=(120, 100, blue)) for blue in np.linspace(40, 80, 12)])
    found = compare_tables(measure_light(images), measure_light(images), PARAMETERS, seed=0, resamples=10)
    assert found.parameters["g_r"].ks is not None and found.parameters["g_r"].ks.value == 0


def test_histograms_are_shares() -> None:
    image = np.zeros((2, 8, 8, 3), np.uint8)
    image[0, :4, :, 1] = 255
    found = pixel_histograms(image)
    assert found.shape == (2, 3, 256) and found.sum(axis=2) == pytest.approx(np.ones((2, 3)))
    assert (found[0, 1, 0], found[0, 1, 255], found[1, 1, 0]) == (0.5, 0.5, 1.0)
    assert pixel_histograms(image[:0]).shape == (0, 3, 256)


def test_histogram_distance_is_the_shift_in_steps() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(20, 200, (12, 16, 16, 3)).astype(np.uint8)
    brighter = images.copy()
    brighter[..., 2] += 7
    own, found = (
        histogram_distance(pixel_histograms(one), pixel_histograms(images), seed=0, resamples=20)
        for one in (images[::-1], brighter)
    )
    assert [own[band].value for band in BANDS] == pytest.approx([0, 0, 0], abs=1e-9)
    assert [found[band].value for band in BANDS] == pytest.approx([0, 0, 7], abs=1e-9)
    assert found["blue"].low > 4 and found["red"].low == pytest.approx(0, abs=1e-9)


def test_bad_input() -> None:
    with pytest.raises(TooFewGalaxies, match="9 galaxies, at least 10"):
        histogram_distance(np.ones((9, 3, 256)), np.ones((20, 3, 256)), seed=0)
    with pytest.raises(InputError, match="expected uint8"):
        measure_light(np.zeros((2, 8, 8, 3), np.uint8))
    with pytest.raises(InputError, match="expected uint8"):
        pixel_histograms(np.zeros((2, 8, 9, 3), np.uint8))
