"""Temperature finds what was done to the logits; reliability sees what is off."""

import numpy as np
import pytest
from scipy.special import softmax

from galaxysd.metrics.calibration import reliability, temperature


def galaxies(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits [N, 3] whose probabilities are right, and labels drawn from them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, 3))
    chances = softmax(logits, axis=1)
    return logits, (chances.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_the_temperature_undoes_a_factor(factor: float) -> None:
    logits, labels = galaxies(4000)
    assert temperature(factor * logits, labels) == pytest.approx(factor, rel=0.08)


def test_few_or_no_galaxies_change_little() -> None:
    sure = np.array([[9.0, 0.0], [0.0, 9.0]])
    assert temperature(sure, np.array([0, 1])) == pytest.approx(1, abs=0.05)
    assert temperature(np.empty((0, 2)), np.empty(0, np.int64)) == 1
    assert 0.2 < temperature(np.full((5, 2), [1.0, 0.0]), np.zeros(5, np.int64)) < 0.95


def test_errors_vanish_where_probabilities_are_right() -> None:
    logits, labels = galaxies(20_000)
    right, sharp = softmax(logits, axis=1)[:, 0], softmax(3 * logits, axis=1)[:, 0]
    assert reliability(right, labels == 0).error < 0.01
    assert reliability(sharp, labels == 0).error > 0.05


def test_bins_by_hand() -> None:
    one = reliability(np.array([0.05, 0.05, 0.95, 1.0]), np.array([False, True, True, True]))
    assert one.n.tolist() == [2, 2] and one.observed.tolist() == [0.5, 1.0]
    assert one.predicted == pytest.approx([0.05, 0.975])
    assert one.error == pytest.approx((2 * 0.45 + 2 * 0.025) / 4)
