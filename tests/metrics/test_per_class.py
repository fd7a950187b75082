"""Kinds and the spread within them: collapse shows, scale shows, order does not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxysd.catalog.tree import DecisionTree
from galaxysd.metrics.per_class import classes_of, spread_within, spreads
from galaxysd.stats import TooFewGalaxies

TREE = DecisionTree.load("gz2")


def test_a_kind_is_a_clear_answer_to_a_known_question() -> None:
    fractions, known = np.zeros((3, len(TREE.columns))), np.zeros((3, len(TREE.questions)), bool)
    smooth, featured = 0, 1
    fractions[:, smooth], fractions[:, featured] = (0.9, 0.6, 0.9), (0.1, 0.4, 0.1)
    known[:2, 0] = True
    found = classes_of(fractions, known, TREE)
    assert found[:, smooth].tolist() == [True, False, False] and found.sum() == 1


def test_spread_is_that_of_each_kind_alone() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 3))
    kinds = np.zeros((60, 3))
    kinds[:20, 0], kinds[10:, 1] = 1, 1
    found = spreads(features, kinds)
    expected = np.sqrt(np.square(features[:20] - features[:20].mean(axis=0)).sum(axis=1).mean())
    assert found[0] == pytest.approx(expected) and np.isnan(found[2])


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 5))
@settings(max_examples=10, deadline=None)
def test_the_ratio_follows_the_scale_and_not_the_order(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    real, kinds = rng.normal(size=(80, 3)), rng.random((80, 2)) < 0.7
    order = rng.permutation(80)
    found = spread_within(scale * real, kinds, real, kinds, seed=0)
    assert found.value == pytest.approx(scale, rel=1e-6)
    again = spread_within(scale * real[order], kinds[order], real, kinds, seed=0)
    assert again.low == pytest.approx(found.low) and again.high == pytest.approx(found.high)


def test_one_galaxy_per_kind_has_no_spread_though_the_sample_has() -> None:
    rng = np.random.default_rng(0)
    kinds = np.arange(80)[:, None] % 2 == np.arange(2)
    real = rng.normal(size=(80, 3)) + 5 * kinds[:, :1]
    collapsed = np.where(kinds[:, :1], real[kinds[:, 0]][0], real[kinds[:, 1]][0])
    assert collapsed.std() > 1
    assert spread_within(collapsed, kinds, real, kinds, seed=0).value == pytest.approx(0, abs=1e-6)


def test_too_few_of_every_kind_is_told() -> None:
    rng = np.random.default_rng(0)
    kinds = np.zeros((30, 2), bool)
    kinds[:5] = True
    with pytest.raises(TooFewGalaxies, match="no kind has the 20 galaxies"):
        spread_within(rng.normal(size=(30, 2)), kinds, rng.normal(size=(30, 2)), kinds, seed=0)
    with pytest.raises(TooFewGalaxies, match="copies of one galaxy"):
        spread_within(rng.normal(size=(30, 2)), ~kinds, np.ones((30, 2)), ~kinds, seed=0)
