"""Intervals cover the truth as often as they say; scores hold a number or a reason, never a wrong number."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from galaxysd.errors import InputError
from galaxysd.stats import (
    Estimate,
    Score,
    TooFewGalaxies,
    as_feature_pair,
    as_features,
    bootstrap,
    in_own_order,
    over_subsets,
    score,
    share,
    wilson,
)


def test_wilson_interval() -> None:
    assert wilson(8, 10) == pytest.approx((0.490, 0.943), abs=1e-3)  # a textbook's example
    assert wilson(10, 10)[1] == pytest.approx(1.0)
    assert wilson(0, 10)[0] == pytest.approx(0.0)


def test_share_is_a_mean_with_its_wilson_interval() -> None:
    found = share(np.array([True] * 8 + [False] * 2))
    assert (found.value, found.n) == (0.8, 10) and (found.low, found.high) == wilson(8, 10)
    with pytest.raises(TooFewGalaxies, match="0 galaxies, at least 1"):
        share(np.empty(0, bool))


def test_bootstrap_of_a_mean_is_as_wide_as_theory_says() -> None:
    sample = np.random.default_rng(0).normal(3, 2, 400)
    found = bootstrap(np.mean, sample, seed=1, resamples=2000)
    assert found.value == pytest.approx(sample.mean()) and found.n == 400
    assert found.high - found.low == pytest.approx(2 * 1.96 * sample.std() / 20, rel=0.08)
    pair = bootstrap(lambda a, b: a.mean() - b.mean(), sample, sample[:100], seed=1, resamples=2000)
    assert pair.n == 100
    assert pair.high - pair.low == pytest.approx(2 * 1.96 * sample.std() * (1 / 400 + 1 / 100) ** 0.5, rel=0.12)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    covered = {"bootstrap": 0, "subsets": 0}
    for seed in range(200):
        sample = rng.normal(size=60)
        for name, how in (("bootstrap", bootstrap), ("subsets", over_subsets)):
            count = {"resamples": 200} if name == "bootstrap" else {"repeats": 200}
            found = how(np.mean, sample, seed=seed, **count)
            covered[name] += found.low <= 0 <= found.high
    assert all(0.88 <= count / 200 <= 0.99 for count in covered.values()), covered


def test_subsets_hold_no_galaxy_twice_and_as_many_of_each_sample() -> None:
    seen: list[tuple[int, int]] = []

    def statistic(a: np.ndarray, b: np.ndarray) -> float:
        assert len(np.unique(a)) == len(a) and len(np.unique(b)) == len(b)
        seen.append((len(a), len(b)))
        return 0.0

    found = over_subsets(statistic, np.arange(30.0), np.arange(21.0), seed=0, repeats=7)
    assert seen == [(10, 10)] * 7 and found.n == 10
    with pytest.raises(TooFewGalaxies, match=r"21 galaxies, at least 22 are needed \(two subsets of 11\)"):
        over_subsets(statistic, np.arange(30.0), np.arange(21.0), seed=0, size=11)
    with pytest.raises(TooFewGalaxies, match=r"1 galaxy, at least 2 are needed \(two halves\)"):
        over_subsets(statistic, np.arange(1.0), seed=0)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_order_of_galaxies_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sample = rng.normal(size=(40, 3))
    other = sample[rng.permutation(40)]
    assert np.array_equal(in_own_order(sample), in_own_order(other))
    assert np.array_equal(np.sort(in_own_order(sample), axis=0), np.sort(sample, axis=0))  # the same galaxies
    assert bootstrap(np.median, sample, seed=5, resamples=20) == bootstrap(np.median, other, seed=5, resamples=20)
    assert over_subsets(np.median, sample, seed=5, repeats=20) == over_subsets(np.median, other, seed=5, repeats=20)


def test_other_seeds_draw_others() -> None:
    sample = np.random.default_rng(0).normal(size=50)
    assert (
        bootstrap(np.mean, sample, seed=0) == bootstrap(np.mean, sample, seed=0) != bootstrap(np.mean, sample, seed=1)
    )


def test_samples_are_refused_with_the_row_and_what_would_be_right() -> None:
    broken = np.ones((4, 2))
    broken[2, 1] = np.nan
    with pytest.raises(InputError, match="dreams: row 2 holds a value that is not a finite number"):
        as_features(broken, "dreams")
    with pytest.raises(InputError, match=r"dreams: features must be \[galaxies, numbers\], not of shape \[4\]"):
        as_features(np.ones(4), "dreams")
    with pytest.raises(InputError, match="generated: 2 features a galaxy, but the real ones have 3"):
        as_feature_pair(np.ones((4, 2)), np.ones((4, 3)))
    with pytest.raises(TooFewGalaxies, match=r"real: 4 galaxies, at least 6 are needed \(a reason\)"):
        as_feature_pair(np.ones((6, 2)), np.ones((4, 2)), least=6, why="a reason")
    with pytest.raises(TooFewGalaxies, match="9 galaxies, at least 10"):
        bootstrap(np.mean, np.arange(9.0), seed=0)


def middle(sample: np.ndarray) -> Estimate:
    return bootstrap(np.mean, sample, seed=3, resamples=50)


def test_a_score_carries_floor_and_straw_men_and_survives_json() -> None:
    rng = np.random.default_rng(0)
    straw = {"noise": rng.normal(9, 1, 30), "few": np.arange(2.0)}
    found = score(middle, rng.normal(1, 1, 40), real_baseline=rng.normal(0, 1, 30), negative_controls=straw, seed=3)
    assert found.value is not None and found.low is not None and found.high is not None
    assert found.low < found.value < found.high and (found.n, found.seed, found.note) == (40, 3, None)
    assert found.real_baseline is not None and found.real_baseline.n == 30 and abs(found.real_baseline.value) < 0.5
    assert found.negative_controls["noise"] == pytest.approx(9, abs=0.5) and found.negative_controls["few"] is None
    assert Score.parse(json.loads(found.model_dump_json()), "report") == found
    assert score(middle, rng.normal(size=40), real_baseline=None, negative_controls={}, seed=3).real_baseline is None


def test_too_few_galaxies_give_a_note_and_no_number() -> None:
    found = score(middle, np.arange(4.0), real_baseline=np.arange(3.0), negative_controls={}, seed=3)
    assert (found.value, found.low, found.high, found.real_baseline, found.n) == (None, None, None, None, 4)
    assert found.note == "sample: 4 galaxies, at least 10 are needed (bootstrap)"


def test_other_bad_input_is_not_hidden_in_a_note() -> None:
    with pytest.raises(InputError, match="not a finite number"):
        score(middle, np.full(20, np.inf), real_baseline=None, negative_controls={}, seed=3)


@pytest.mark.parametrize(
    "change",
    [{"note": "why"}, {"low": None}, {"value": None}, {"value": float("nan")}, {"negative_controls": {"a": np.inf}}],
)
def test_half_a_score_is_refused(change: dict[str, object]) -> None:
    whole = {"value": 1.0, "low": 0.0, "high": 2.0, "n": 5, "seed": 0, "real_baseline": None, "negative_controls": {}}
    Score.model_validate(whole)
    with pytest.raises(ValidationError):
        Score.model_validate({**whole, **change})
