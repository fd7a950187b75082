"""A probe separates what can be separated, chooses its penalty on held-out galaxies and is calibrated."""

import numpy as np
import pytest

from galaxysd.classifiers.linear_probe import STRENGTHS, fit_probe, log_loss


def clouds(n: int, classes: int, apart: float, seed: int, width: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    return apart * np.eye(width)[labels] * 7 + 5 + rng.normal(size=(n, width)) * 3, labels


@pytest.mark.parametrize("classes", [2, 4])
def test_clouds_that_lie_apart_are_told_apart(classes: int) -> None:
    probe = fit_probe(*clouds(200, classes, 2.0, 0), *clouds(60, classes, 2.0, 1), classes)
    features, labels = clouds(200, classes, 2.0, 2)
    found = probe.probabilities(features)
    assert found.shape == (200, classes) and np.allclose(found.sum(axis=1), 1)
    assert (found.argmax(axis=1) == labels).mean() > 0.97


def test_noise_asks_for_a_strong_penalty_and_leaves_the_probabilities_near_chance() -> None:
    probe = fit_probe(*clouds(60, 3, 0.0, 0), *clouds(60, 3, 0.0, 1), 3)
    assert probe.strength <= STRENGTHS[1]
    features, labels = clouds(300, 3, 0.0, 2)
    assert log_loss(np.log(probe.probabilities(features)), labels) < 1.15  # chance: log 3 = 1.10


def test_weights_count() -> None:
    features = np.concatenate([np.full((10, 1), -1.0), np.full((10, 1), 1.0), np.full((10, 1), 1.0)])
    labels = np.array([0] * 10 + [1] * 10 + [0] * 10)
    for weight, called in ((0.1, 1), (10.0, 0)):
        weights = np.array([1.0] * 20 + [weight] * 10)
        probe = fit_probe(features, labels, features[:0], labels[:0], 2, sample_weights=weights)
        assert probe.probabilities(np.array([[1.0]])).argmax() == called


def test_log_loss_is_the_mean_surprise() -> None:
    assert log_loss(np.log(np.array([[0.5, 0.5], [0.25, 0.75]])), np.array([0, 1])) == pytest.approx(
        (np.log(2) + np.log(4 / 3)) / 2
    )
    assert log_loss(np.empty((0, 2)), np.empty(0, np.int64)) == 0
