"""Precision, recall, density, coverage: against the package prdc, by hand, and in the right direction."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prdc import compute_prdc

from galaxysd.errors import InputError
from galaxysd.metrics.prdc import prdc, radii
from galaxysd.stats import TooFewGalaxies


@pytest.mark.parametrize(("k", "shift"), [(3, 0.0), (5, 0.4), (5, 1.5)])
def test_it_agrees_with_prdc(k: int, shift: float) -> None:
    rng = np.random.default_rng(1)
    real, generated = rng.normal(size=(300, 6)), 0.8 * rng.normal(size=(240, 6)) + shift
    expected = compute_prdc(real, generated, nearest_k=k)
    found = prdc(generated, real, k=k)
    assert found.precision.value == pytest.approx(expected["precision"], rel=1e-4)
    assert found.recall.value == pytest.approx(expected["recall"], rel=1e-4)
    assert found.density(seed=0).value == pytest.approx(expected["density"], rel=1e-4)
    assert found.coverage.value == pytest.approx(expected["coverage"], rel=1e-4)
    assert expected["precision"] > 0 and expected["recall"] < 1


def test_by_hand_on_a_line() -> None:
    real = np.array([[0.0], [1.0], [3.0], [6.0]])
    assert radii(real, 1).tolist() == [1, 1, 2, 3]
    generated = np.array([[-1.0], [9.0], [20.0]])  # on the rim of the first ball, on that of the last, outside
    found = prdc(generated, real, k=1)
    assert found.precise.tolist() == [True, True, False]
    assert found.crowd.tolist() == [1, 1, 0]
    assert found.covered.tolist() == [True, False, False, True]
    assert radii(generated, 1).tolist() == [10, 10, 11]
    assert found.recalled.tolist() == [True, True, True, True]


@given(st.integers(0, 2**32 - 1), st.integers(1, 50))
@settings(max_examples=25, deadline=None)
def test_order_and_blocks_do_not_matter(seed: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    real, generated = rng.integers(0, 4, size=(40, 3)).astype(float), rng.integers(0, 5, size=(30, 3)).astype(float)
    ours, theirs = rng.permutation(30), rng.permutation(40)  # many ties and twins
    whole, other = prdc(generated, real), prdc(generated[ours], real[theirs], block=block)
    assert np.array_equal(whole.precise[ours], other.precise) and np.array_equal(whole.crowd[ours], other.crowd)
    assert np.array_equal(whole.recalled[theirs], other.recalled)
    assert np.array_equal(whole.covered[theirs], other.covered)
    assert whole.density(seed=0) == other.density(seed=0)


def test_equal_samples_are_inside_each_other() -> None:
    real = np.random.default_rng(0).normal(size=(50, 4))
    found = prdc(real, real)
    assert found.precision.value == found.recall.value == found.coverage.value == 1
    assert found.density(seed=0).value > 1


def test_straw_men_move_what_they_must() -> None:
    rng = np.random.default_rng(0)
    real, real_baseline = rng.normal(size=(300, 4)), rng.normal(size=(300, 4))
    fair = prdc(real_baseline, real)
    assert fair.density(seed=0).value == pytest.approx(1, abs=0.15)
    collapsed = prdc(real_baseline[:1] * 0.1 + 1e-3 * rng.normal(size=(300, 4)), real)
    assert collapsed.precision.value == 1
    assert collapsed.recall.high < 0.1 * fair.recall.low and collapsed.coverage.high < 0.1 * fair.coverage.low
    noise = prdc(rng.uniform(-12, 12, size=(300, 4)), real)
    assert noise.precision.high < 0.2 * fair.precision.low
    assert noise.density(seed=0).high < fair.density(seed=0).low


def test_constant_features_are_inside_their_balls_of_no_size() -> None:
    same = np.ones((10, 2))
    found = prdc(same, same)
    assert found.precision.value == found.recall.value == found.coverage.value == 1
    apart = prdc(same + 1, same)
    assert apart.precision.value == apart.recall.value == apart.coverage.value == 0


def test_bad_and_few_features_are_refused() -> None:
    with pytest.raises(InputError, match="real: row 2 holds a value"):
        prdc(np.ones((9, 1)), np.array([[1.0]] * 2 + [[np.inf]] * 7))
    with pytest.raises(TooFewGalaxies, match=r"generated: 5 galaxies, at least 6 are needed \(neighbour 5 of each\)"):
        prdc(np.ones((5, 2)), np.ones((9, 2)))
