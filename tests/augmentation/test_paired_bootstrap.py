"""Arms are compared on the same draws: means agree with the metrics, differences are paired."""

import numpy as np
import pytest

from galaxysd.augmentation.paired_bootstrap import STATISTICS, paired_bootstrap
from galaxysd.classifiers.metrics import METRICS, class_metrics

K = 3


def calls(truth: np.ndarray, right: float, seeds: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    guesses = rng.integers(K, size=(seeds, len(truth)))
    return np.where(rng.random((seeds, len(truth))) < right, truth, guesses)


TRUTH = np.random.default_rng(0).choice(K, 300, p=[0.6, 0.3, 0.1])
GOOD, BAD = calls(TRUTH, 0.8, 4, 1), calls(TRUTH, 0.4, 4, 2)
FOUND = paired_bootstrap(("bad", "good"), TRUTH, np.stack([BAD, GOOD]), K, resamples=200)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_the_means_are_those_of_the_metrics(statistic: str) -> None:
    expected = np.mean([class_metrics(TRUTH, np.eye(K)[called]) for called in GOOD], axis=0)
    column = METRICS.index(statistic)
    whole = FOUND.of("good", statistic)
    assert whole is not None and whole.value == pytest.approx(expected[:, column].mean())
    for label in range(K):
        one = FOUND.of("good", statistic, label)
        assert one is not None and one.value == pytest.approx(expected[label, column])
        assert one.low <= one.value <= one.high


def test_the_better_arm_gains_and_the_same_arm_does_not() -> None:
    gain, loss = FOUND.difference("good", "bad", "F1"), FOUND.difference("bad", "good", "F1")
    assert gain is not None and loss is not None
    assert gain.low > 0.1 and loss.high < -0.1 and gain.value == pytest.approx(-loss.value)
    same = FOUND.difference("good", "good", "F1")
    assert same is not None and (same.value, same.low, same.high) == (0, 0, 0)


def test_pairing_narrows_the_interval_of_a_difference() -> None:
    nearly = GOOD.copy()
    nearly[:, :5] = (TRUTH[:5] + 1) % K
    gain = paired_bootstrap(("a", "b"), TRUTH, np.stack([GOOD, nearly]), K, resamples=200).difference("a", "b", "F1")
    alone = FOUND.of("good", "F1")
    assert gain is not None and alone is not None
    assert gain.low > 0 and gain.high - gain.low < 0.6 * (alone.high - alone.low)


def test_seeds_widen_the_interval() -> None:
    mixed = np.stack([*GOOD[:2], *BAD[:2]])
    wide = paired_bootstrap(("a",), TRUTH, mixed[None], K, resamples=200).of("a", "F1")
    narrow = FOUND.of("good", "F1")
    assert wide is not None and narrow is not None and wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_a_class_without_test_galaxies_has_no_value_and_does_not_count() -> None:
    truth = np.where(TRUTH == 2, 0, TRUTH)
    found = paired_bootstrap(("a",), truth, GOOD[None], K, resamples=50)
    first, second, mean = found.of("a", "F1", 0), found.of("a", "F1", 1), found.of("a", "F1")
    assert found.of("a", "F1", 2) is None
    assert first is not None and second is not None and mean is not None
    assert mean.value == pytest.approx((first.value + second.value) / 2)
