"""Consistency: perfect readers find no fault, shuffled requests look bad, unknown questions count for nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxysd.catalog.tree import DecisionTree
from galaxysd.metrics.consistency import Reading, answer_errors, calibration, fraction_errors, hits

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
    assert all(right.all() for right in hits(perfect).values())
    assert calibration(perfect).error == 0


@given(seed=st.integers(0, 100))
def test_shuffled_requests_are_worse(seed: int) -> None:
    reading = requests(seed=seed)
    shuffled = reading.shuffled(seed)
    assert np.nanmean(fraction_errors(shuffled)) > 2 * np.nanmean(fraction_errors(reading))
    assert np.mean([right.mean() for right in hits(shuffled).values()]) < 0.7
    assert np.mean([right.mean() for right in hits(reading).values()]) > 0.95


def test_unknown_questions_count_for_nothing() -> None:
    reading = requests()
    spoilt = reading.read.copy()
    for index in range(len(TREE.questions)):
        spoilt[~reading.known[:, index], reading.tree.slices[index]] = 0.5
    again = Reading(reading.asked, reading.known, spoilt, TREE)
    assert np.allclose(fraction_errors(again), fraction_errors(reading), equal_nan=True)
    assert answer_errors(again) == answer_errors(reading)
    assert calibration(again).error == calibration(reading).error
    nothing = Reading(reading.asked, np.zeros_like(reading.known), reading.read, TREE)
    assert np.isnan(fraction_errors(nothing)).all() and not hits(nothing) and not answer_errors(nothing)


def test_unclear_and_few_requests_give_no_accuracy() -> None:
    reading = requests(n=9)
    assert not hits(reading)
    unclear = Reading(np.full((50, len(TREE.columns)), 0.5), requests(50).known, requests(50).read, TREE)
    assert not hits(unclear)


def test_errors_are_those_of_the_answer() -> None:
    reading = requests()
    worse = reading.read.copy()
    bar = TREE.columns.index("t03_bar_a06_bar")
    worse[:, bar] = 1 - reading.asked[:, bar]
    errors = answer_errors(Reading(reading.asked, reading.known, worse, TREE))
    assert errors["t03_bar_a06_bar"][0] == pytest.approx(1)
    assert errors["t03_bar_a07_no_bar"][0] < 0.1
    question = [question.key for question in TREE.questions].index("t03_bar")
    assert errors["t03_bar_a06_bar"][1] == int(reading.known[:, question].sum())


def test_calibration_sees_overconfidence() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((4000, len(TREE.columns)))
    known = np.ones((4000, len(TREE.questions)), bool)
    honest = Reading((rng.random(truth.shape) < truth).astype(float), known, truth, TREE)
    proud = Reading(honest.asked, known, np.clip(2 * truth - 0.5, 0, 1), TREE)
    assert calibration(honest).error < 0.02 < 0.1 < calibration(proud).error
    assert sum(calibration(honest).n) == truth.size
