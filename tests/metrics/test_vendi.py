"""Vendi score: counts kinds, has two equal forms, falls with collapse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxysd.errors import InputError
from galaxysd.metrics.vendi import vendi, vendi_score
from galaxysd.stats import TooFewGalaxies


@given(st.integers(1, 6), st.integers(1, 7), st.floats(0.01, 100))
@settings(deadline=None)
def test_it_counts_kinds_that_share_nothing(kinds: int, each: int, brightness: float) -> None:
    features = brightness * np.repeat(np.eye(8)[:kinds], each, axis=0)
    assert vendi_score(features) == pytest.approx(kinds)


@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(2, 12))
@settings(deadline=None)
def test_it_is_the_entropy_of_the_whole_kernel(seed: int, n: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, width))
    unit = features / np.linalg.norm(features, axis=1)[:, None]
    values = np.linalg.eigvalsh(unit @ unit.T / n).clip(min=1e-300)
    expected = np.exp(-(values * np.log(values)).sum())
    assert vendi_score(features) == pytest.approx(expected, rel=1e-9)
    assert vendi_score(rng.permutation(features)) == pytest.approx(expected, rel=1e-9)
    assert 1 <= expected <= min(n, width) + 1e-9


def test_collapse_and_constant_features() -> None:
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(100, 20))
    assert vendi_score(np.repeat(spread[:1], 100, axis=0)) == pytest.approx(1)
    tenth = np.repeat(spread[:10], 10, axis=0)
    assert vendi_score(tenth) < 10.001 < vendi_score(spread)


def test_the_estimate_has_a_size_and_no_order() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(90, 10))
    found = vendi(features, seed=0)
    assert found.n == 45 and found.low <= found.value <= found.high
    assert vendi(rng.permutation(features), seed=0) == found
    small = vendi(features, seed=0, size=10)
    assert small.n == 10 and small.high < found.low


def test_bad_and_few_features_are_refused() -> None:
    with pytest.raises(InputError, match="row 1 is all 0"):
        vendi_score(np.array([[1.0, 2.0], [0.0, 0.0]]))
    with pytest.raises(InputError, match="row 0 holds a value"):
        vendi_score(np.array([[np.nan, 2.0]]))
    with pytest.raises(TooFewGalaxies, match="0 galaxies, at least 1"):
        vendi_score(np.empty((0, 3)))
    with pytest.raises(TooFewGalaxies, match="30 galaxies, at least 40"):
        vendi(np.ones((30, 3)), seed=0, size=20)
