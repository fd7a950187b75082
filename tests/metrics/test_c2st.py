"""Two-sample test: one half for equal distributions, one for what can always be told."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from galaxysd.errors import InputError
from galaxysd.metrics.c2st import area, c2st
from galaxysd.stats import TooFewGalaxies


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=20), st.lists(st.integers(-3, 3), min_size=1, max_size=20))
@settings(deadline=None)
def test_area_is_that_of_the_roc_curve(low: list[int], high: list[int]) -> None:
    expected = roc_auc_score([0] * len(low) + [1] * len(high), low + high)
    assert area(np.array(low, float), np.array(high, float)) == pytest.approx(expected)


def test_halves_cannot_be_told_apart_and_others_can() -> None:
    rng = np.random.default_rng(0)
    real, half = rng.normal(size=(300, 8)), rng.normal(size=(250, 8))
    equal = c2st(half, real, seed=0)
    assert equal.low < 0.5 < equal.high and equal.value == pytest.approx(0.5, abs=0.08) and equal.n == 250
    near = c2st(half + 0.3, real, seed=0)
    assert 0.55 < near.low < near.value < near.high < 0.95
    assert c2st(half + 6, real, seed=0).value == pytest.approx(1)


def test_the_interval_knows_that_classifiers_vary() -> None:
    tests = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        ours, theirs = rng.normal(size=(2, 100, 4))
        tests.append(c2st(ours, theirs, seed=seed, resamples=100))
    assert np.mean([one.value for one in tests]) == pytest.approx(0.5, abs=0.02)
    assert 54 <= sum(one.low <= 0.5 <= one.high for one in tests) <= 60  # 95 % of 60 are 57


def test_order_does_not_matter_and_the_seed_does() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(size=(60, 3)), rng.normal(0.3, 1, size=(70, 3))
    found = c2st(ours, theirs, seed=0, resamples=50)
    assert c2st(rng.permutation(ours), rng.permutation(theirs), seed=0, resamples=50) == found
    assert c2st(ours, theirs, seed=1, resamples=50) != found


def test_constant_features_tell_nothing() -> None:
    found = c2st(np.ones((60, 3)), np.ones((60, 3)), seed=0, resamples=50)
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_bad_and_few_features_are_refused() -> None:
    with pytest.raises(InputError, match="generated: row 0 holds a value"):
        c2st(np.full((60, 3), np.nan), np.ones((60, 3)), seed=0)
    with pytest.raises(TooFewGalaxies, match=r"real: 49 galaxies, at least 50 are needed \(10 in each of 5 folds\)"):
        c2st(np.ones((60, 3)), np.ones((49, 3)), seed=0)
