"""Metrics against scikit-learn, in the right direction, and null where there is nothing to measure."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from galaxysd.classifiers.metrics import METRICS, average_precision, class_metrics, confusion, macro, measure

PURITY, COMPLETENESS, F1, AP, ECE = range(5)


def guesses(n: int, skill: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, n, p=(0.6, 0.3, 0.1))
    raw = np.exp(rng.normal(0, 1, (n, 3)) + skill * np.eye(3)[labels])
    return labels, raw / raw.sum(axis=1, keepdims=True)


@given(st.integers(0, 10_000), st.floats(0, 4), st.integers(12, 80))
def test_as_scikit_learn(seed: int, skill: float, n: int) -> None:
    labels, probabilities = guesses(n, skill, seed)
    probabilities = probabilities.round(1)  # so that there are ties
    found = class_metrics(labels, probabilities)
    expected = precision_recall_fscore_support(labels, probabilities.argmax(axis=1), labels=range(3), zero_division=0)
    for index in range(3):
        if (labels == index).any():
            assert found[index, :3] == pytest.approx([values[index] for values in expected[:3]])
            assert found[index, AP] == pytest.approx(average_precision_score(labels == index, probabilities[:, index]))
        else:
            assert np.isnan(found[index]).all()


def test_skill_is_rewarded() -> None:
    poor, good = (macro(class_metrics(*guesses(2000, skill))) for skill in (0.5, 3.0))
    assert (good[:4] > poor[:4] + 0.2).all()


def test_boasting_is_seen() -> None:
    rng = np.random.default_rng(1)  # not that of the guesses
    _, honest = guesses(4000, 1.0)
    labels = (honest.cumsum(axis=1) < rng.random((4000, 1))).sum(axis=1).clip(max=2)
    sharp = honest**4 / (honest**4).sum(axis=1, keepdims=True)
    assert macro(class_metrics(labels, sharp))[ECE] > 4 * macro(class_metrics(labels, honest))[ECE]


def test_a_class_without_galaxies_is_null_and_not_in_the_mean() -> None:
    labels, probabilities = guesses(200, 3.0)
    kept = labels != 2
    scores = measure(labels[kept], probabilities[kept], ("a", "b", "c"), resamples=20)
    assert scores.per_class["c"] == dict.fromkeys(METRICS) and scores.n[2] == 0
    told = [scores.per_class[name]["F1"] for name in ("a", "b")]
    assert scores.macro["F1"].value == pytest.approx(np.mean([one.value for one in told if one is not None]))


def test_silence_is_not_pure() -> None:
    labels = np.array([0, 0, 1])
    found = class_metrics(labels, np.array([[0.9, 0.1]] * 3))
    assert found[1, :3].tolist() == [0, 0, 0]


def test_intervals_hold_the_value_and_shrink_with_n() -> None:
    widths = []
    for n in (200, 3200):
        labels, probabilities = guesses(n, 1.5)
        scores = measure(labels, probabilities, ("a", "b", "c"), resamples=200)
        one = scores.macro["F1"]
        assert one.low is not None and one.high is not None and one.low < one.value < one.high
        widths.append(one.high - one.low)
        error = scores.macro["ECE"]  # which resampling alone would push up
        assert error.low is not None and error.high is not None and error.low < error.value < error.high
    assert 2.5 < widths[0] / widths[1] < 6.5  # fourfold, within what 200 resamples can tell


def test_few_galaxies_of_a_class_have_no_interval() -> None:
    labels, probabilities = np.repeat([0, 1], [40, 4]), np.tile([[0.7, 0.3]], (44, 1))
    scores = measure(labels, probabilities, ("many", "few"), resamples=50)
    few, many = scores.per_class["few"]["completeness"], scores.per_class["many"]["completeness"]
    assert few is not None and few.value == 0 and few.low is None
    assert many is not None and many.low == 1


def test_the_order_of_galaxies_does_not_matter() -> None:
    labels, probabilities = guesses(300, 1.0)
    order = np.random.default_rng(1).permutation(300)
    first = measure(labels, probabilities, ("a", "b", "c"), resamples=30)
    assert measure(labels[order], probabilities[order], ("a", "b", "c"), resamples=30) == first


def test_confusion_and_average_precision_by_hand() -> None:
    assert confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist() == [[1, 1], [0, 1]]
    assert average_precision(np.array([0.9, 0.8, 0.7]), np.array([True, False, True])) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(np.zeros(4), np.array([True, False, False, False])) == 0.25
