"""Physical morphology: parameters move with what was drawn, failures are rows with reasons, distances are distances."""

from functools import cache

import numpy as np
import polars as pl
import pytest
from astropy.modeling.models import Sersic2D
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from galaxysd.errors import InputError
from galaxysd.metrics.morphology import (
    PARAMETERS,
    bootstrap_distance,
    compare_tables,
    compare_values,
    luminance,
    measure_morphology,
    measured_values,
    sky,
)
from galaxysd.stats import TooFewGalaxies
from galaxysd.types import Pixels

SIDE, LEVEL, NOISE = 64, 6.0, 2.0
GALAXY = {"radius": 7.0, "index": 1.0, "ellipticity": 0.2}


def grain(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(LEVEL, NOISE, (SIDE, SIDE, 3))


def drawn(
    *, radius: float, index: float, ellipticity: float, clump: float = 0.0, seed: int = 0, centre: float = 31.5
) -> Pixels:
    """A Sersic galaxy of peak 200, a clump of the given peak beside it, seeing and sky noise: uint8 [S, S, 3]."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(float)
    light = Sersic2D(1, radius, index, centre, centre, ellipticity, 0.4)(x, y)
    light = gaussian_filter(light, 0.8)
    light = 200 * light / light.max() + clump * np.exp(-0.5 * ((x - centre - 9) ** 2 + (y - centre) ** 2) / 2.0**2)
    return np.rint(np.clip(light[..., None] + grain(seed), 0, 250)).astype(np.uint8)


@cache
def measured(**changes: float) -> dict[str, float]:
    table = measure_morphology(drawn(**(GALAXY | changes))[None], workers=1)
    assert table["measured"][0], table["reason"][0]
    return table.row(0, named=True)


def test_the_parameters_of_a_known_galaxy() -> None:
    row = measured()
    assert row["ellipticity"] == pytest.approx(0.2, abs=0.05)
    assert row["sersic_index"] == pytest.approx(1.0, abs=0.1)
    assert row["half_light_radius"] == pytest.approx(7 * 0.8**0.5, rel=0.1)  # of the circle; 7 px is the major axis
    assert abs(row["asymmetry"]) < 0.05
    assert row["flag"] == 0 and row["reason"] is None


@pytest.mark.parametrize(
    ("parameter", "less", "more", "by"),
    [
        ("ellipticity", {"ellipticity": 0.2}, {"ellipticity": 0.6}, 0.3),
        ("concentration", {"index": 0.5}, {"index": 2.0}, 0.5),
        ("gini", {"index": 0.5}, {"index": 2.0}, 0.05),
        ("sersic_index", {"index": 1.0}, {"index": 2.0}, 0.5),
        ("asymmetry", {}, {"clump": 90.0}, 0.1),
        ("m20", {}, {"clump": 150.0}, 0.1),
        ("half_light_radius", {"radius": 5.0}, {"radius": 9.0}, 3.0),
    ],
)
def test_direction(parameter: str, less: dict[str, float], more: dict[str, float], by: float) -> None:
    assert measured(**more)[parameter] - measured(**less)[parameter] > by


def test_grain_of_the_galaxy_raises_smoothness() -> None:
    image = drawn(**GALAXY)
    mottled = image.astype(float) * np.kron(np.random.default_rng(1).uniform(0.5, 1.5, (32, 32, 1)), np.ones((2, 2, 1)))
    found = measure_morphology(np.stack([image, mottled.clip(0, 250).astype(np.uint8)]), workers=1)["smoothness"]
    assert found[1] - found[0] > 0.03


def test_orientation_changes_nothing() -> None:
    image = drawn(**GALAXY, clump=90.0)
    turned = np.stack([np.rot90(one, turns) for one in (image, image[:, ::-1]) for turns in range(4)])
    table = measure_morphology(turned, workers=1)
    assert table["measured"].all()
    tolerance = {"half_light_radius": 0.1, "asymmetry": 0.05, "smoothness": 0.05, "m20": 0.05, "concentration": 0.05}
    for name in PARAMETERS:
        values = table[name].to_numpy()
        assert np.ptp(values) < tolerance.get(name, 0.02), name


def test_a_neighbour_is_cut_off() -> None:
    image = drawn(**GALAXY).astype(float)
    y, x = np.mgrid[:SIDE, :SIDE]
    image += 220 * np.exp(-0.5 * ((x - 54) ** 2 + (y - 50) ** 2) / 1.5**2)[..., None]
    row = measure_morphology(image.clip(0, 250).astype(np.uint8)[None], workers=1).row(0, named=True)
    assert row["half_light_radius"] == pytest.approx(measured()["half_light_radius"], rel=0.03)
    assert row["ellipticity"] == pytest.approx(measured()["ellipticity"], abs=0.03)


def test_what_cannot_be_measured_has_a_reason() -> None:
    saturated = np.full((SIDE, SIDE, 3), 8, np.uint8)
    saturated[10:50, 10:50] = 255
    bad = {
        "all pixels are equal": np.zeros((SIDE, SIDE, 3), np.uint8),
        "more than 10% of the pixels are saturated": saturated,
        "no source above the sky": grain(3).clip(0, 255).astype(np.uint8),
        "no source near the centre": drawn(**GALAXY | {"radius": 2.0}, centre=9.0),
    }
    table = measure_morphology(np.stack([*bad.values(), drawn(**GALAXY)]), workers=1)
    assert table["measured"].to_list() == [False] * len(bad) + [True]
    assert table["reason"].to_list() == [*bad, None]
    assert table.head(len(bad))["gini"].null_count() == len(bad)


def test_a_crash_of_the_measurement_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> None:
        raise ZeroDivisionError("no\nlight")

    monkeypatch.setattr("statmorph.SourceMorphology", broken)
    table = measure_morphology(drawn(**GALAXY)[None], workers=1)
    assert table.select("measured", "reason", "flag").row(0) == (False, "ZeroDivisionError: no light", None)


def test_processes_change_neither_values_nor_order() -> None:
    images = np.stack(
        [drawn(**GALAXY | {"radius": radius}) for radius in (4.0, 8.0)] + [np.zeros_like(drawn(**GALAXY))]
    )
    images = np.concatenate([images, np.repeat(images[2:], 15, axis=0)])  # two chunks
    assert measure_morphology(images, workers=2).equals(measure_morphology(images, workers=1))


def test_no_images_and_wrong_images() -> None:
    empty = measure_morphology(np.empty((0, SIDE, SIDE, 3), np.uint8))
    assert empty.height == 0 and set(PARAMETERS) < set(empty.columns)
    with pytest.raises(InputError, match=r"images: float64 of shape \[1, 64, 64, 3\]; expected uint8"):
        measure_morphology(np.zeros((1, SIDE, SIDE, 3)))
    with pytest.raises(InputError, match=r"of shape \[1, 16, 16, 3\]; expected uint8 .* at least 32"):
        measure_morphology(np.zeros((1, 16, 16, 3), np.uint8))


def test_luminance_is_the_mean_of_the_planes() -> None:
    assert luminance(np.array([[[[10, 20, 60]]]], np.uint8)).tolist() == [[[30.0]]]


def test_the_sky_is_found_beside_a_galaxy_that_crosses_the_frame() -> None:
    plane = np.random.default_rng(0).normal(LEVEL, NOISE, (SIDE, SIDE))
    plane += 100 * np.exp(-0.5 * (np.arange(SIDE)[:, None] - np.arange(SIDE)) ** 2 / 8.0**2)
    level, deviation = sky(plane)
    assert level == pytest.approx(LEVEL, abs=0.6) and deviation == pytest.approx(NOISE, rel=0.15)


def table_of(values: np.ndarray, failed: int = 0) -> pl.DataFrame:
    columns = {"gini": [*values.tolist(), *[None] * failed], "measured": [True] * len(values) + [False] * failed}
    return pl.DataFrame(columns, schema={"gini": pl.Float64, "measured": pl.Boolean})


def test_a_table_against_itself_and_against_a_shifted_one() -> None:
    rng = np.random.default_rng(0)
    real, other = rng.normal(0.5, 0.1, 400), rng.normal(0.5, 0.1, 400)
    own = compare_tables(table_of(real), table_of(real), ["gini"], seed=0, resamples=50).parameters["gini"]
    assert own.ks is not None and own.wasserstein is not None and own.shift is not None
    assert (own.ks.value, own.wasserstein.value, own.shift.value) == (0, 0, 0)
    assert own.ks.low == 0 and own.ks.high > 0
    found = compare_tables(table_of(other + 0.2), table_of(real), ["gini"], seed=0, resamples=50).parameters["gini"]
    assert found.wasserstein is not None and found.shift is not None and found.ks is not None
    assert found.wasserstein.value == pytest.approx(2.0, abs=0.15)
    assert found.shift.low < 2.0 < found.shift.high
    assert found.ks.value == pytest.approx(0.683, abs=0.06)  # 2 Phi(1) - 1
    assert (found.n_generated, found.n_real) == (400, 400)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=10, max_size=30, unique=True), st.floats(-3, 3), st.floats(0.1, 10))
def test_distances_have_no_unit_and_no_order(sample: list[float], move: float, scale: float) -> None:
    real = np.array(sample)
    if real.std() < 0.1:
        return
    one = compare_values(real + move, real, seed=0, resamples=2)
    two = compare_values((real[::-1] + move) * scale, real * scale, seed=0, resamples=2)
    assert one.wasserstein is not None and two.wasserstein is not None and one.shift is not None
    assert one.wasserstein.value == pytest.approx(abs(move) / real.std(), abs=1e-6)
    assert two.wasserstein.value == pytest.approx(one.wasserstein.value, abs=1e-6)
    assert one.shift.value == pytest.approx(move / real.std(), abs=1e-6)


def test_failures_are_counted_on_both_sides_and_left_out() -> None:
    rng = np.random.default_rng(0)
    generated, real = table_of(rng.normal(size=30), failed=10), table_of(rng.normal(size=49), failed=1)
    generated = generated.with_columns(pl.when(pl.int_range(40) == 0).then(np.nan).otherwise("gini").alias("gini"))
    found = compare_tables(generated, real, ["gini"], seed=0, resamples=10)
    assert (found.failed_generated.value, found.failed_real.value) == (0.25, 0.02)
    assert (found.parameters["gini"].n_generated, found.parameters["gini"].n_real) == (29, 49)
    assert len(measured_values(generated, "gini")) == 29


def test_too_few_galaxies_give_a_note() -> None:
    real = table_of(np.arange(20.0))
    for generated, note in (
        (table_of(np.arange(3.0), failed=9), "at least 10"),
        (table_of(np.empty(0), failed=9), "0"),
    ):
        found = compare_tables(generated, real, ["gini"], seed=0).parameters["gini"]
        assert found.ks is None and found.wasserstein is None and found.note is not None and note in found.note
    same = compare_values(np.arange(20.0), np.ones(20), seed=0)
    assert same.note == "real: all values are equal, which gives no unit of distance"
    with pytest.raises(TooFewGalaxies):
        compare_tables(table_of(np.empty(0)), real, ["gini"], seed=0)
    with pytest.raises(InputError, match="generated: no column 'm20'; it has gini, measured"):
        compare_tables(real, real, ["m20"], seed=0)


def test_an_interval_holds_its_distance() -> None:
    sample = np.random.default_rng(0).normal(size=40)
    found = bootstrap_distance(lambda a, b: float(np.abs(a.mean() - b.mean())), sample, sample, seed=0, resamples=20)
    assert found.low == found.value == 0 < found.high
