"""Consistency: perfect readers find no fault, shuffled requests look bad, unknown questions count for nothing."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from galaxysd.catalog.tree import DecisionTree
from galaxysd.metrics.consistency import Reading, calibration, fraction_errors, right_shares

TREE = DecisionTree.load("gz2")
SIZES = [len(question.answers) for question in TREE.questions]


def requests(n: int = 200, seed: int = 0) -> Reading:
    """One-hot requests, read with a little error."""
    rng = np.random.default_rng(seed)
    asked = np.concatenate([np.eye(size)[rng.integers(size, size=n)] for size in SIZES], axis=1)
    known = rng.random((n, len(SIZES))) < 0.7
    read = np.clip(asked + rng.normal(0, 0.1, asked.shape), 0, 1)
    return Reading(asked, known, read, TREE)


def test_a_perfect_reader_finds_no_fault() -> None:
    reading = requests()
    perfect = Reading(reading.asked, reading.known, reading.asked, TREE)
    assert np.nanmax(fraction_errors(perfect)) == 0
    assert np.nanmin(right_shares(perfect)) == 1
    assert calibration(perfect).error == 0


@given(seed=st.integers(0, 100))
def test_shuffled_requests_are_worse(seed: int) -> None:
    reading = requests(seed=seed)
    shuffled = reading.shuffled(seed)
    assert np.nanmean(fraction_errors(shuffled)) > 2 * np.nanmean(fraction_errors(reading))
    assert np.nanmean(right_shares(shuffled)) < 0.7
    assert np.nanmean(right_shares(reading)) > 0.95


def test_unknown_questions_count_for_nothing() -> None:
    reading = requests()
    spoilt = reading.read.copy()
    for index in range(len(TREE.questions)):
        spoilt[~reading.known[:, index], reading.tree.slices[index]] = 0.5
    again = Reading(reading.asked, reading.known, spoilt, TREE)
    assert np.allclose(fraction_errors(again), fraction_errors(reading), equal_nan=True)
    assert np.allclose(right_shares(again), right_shares(reading), equal_nan=True)
    assert calibration(again).error == calibration(reading).error
    nothing = Reading(reading.asked, np.zeros_like(reading.known), reading.read, TREE)
    assert np.isnan(fraction_errors(nothing)).all()
    assert np.isnan(right_shares(nothing)).all()


def test_calibration_sees_overconfidence() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((4000, len(TREE.columns)))
    known = np.ones((4000, len(TREE.questions)), bool)
    honest = Reading((rng.random(truth.shape) < truth).astype(float), known, truth, TREE)
    proud = Reading(honest.asked, known, np.clip(2 * truth - 0.5, 0, 1), TREE)
    assert calibration(honest).error < 0.02 < 0.1 < calibration(proud).error
    assert sum(calibration(honest).n) == truth.size
