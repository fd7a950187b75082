"""Fréchet distance: against a matrix root, against torchmetrics, block by block, and its directions."""

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.image.fid import FrechetInceptionDistance

from galaxysd.errors import InputError
from galaxysd.metrics.frechet import Moments, frechet, frechet_distance, frechet_from_moments
from galaxysd.stats import TooFewGalaxies


class ExternalSample(torch.nn.Module):
    """An extractor that hands features through."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features


@given(st.integers(0, 2**32 - 1), st.floats(0.2, 3))
@settings(deadline=None)
def test_it_is_the_one_with_a_matrix_root(seed: int, stretch: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(60, 5)), stretch * rng.normal(size=(50, 5)) @ rng.normal(size=(5, 5)) + 0.3
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(first @ second).real
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(first + second - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_it_grows_with_the_difference() -> None:
    a = np.random.default_rng(0).normal(size=(400, 4))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + np.array([2, 0, 0, 0])) == pytest.approx(4)  # the means alone
    assert frechet_distance(a, 3 * a) > frechet_distance(a, 2 * a) > 0.5


def test_it_agrees_with_torchmetrics() -> None:
    rng = np.random.default_rng(1)
    real, generated = rng.normal(size=(300, 16)), rng.gamma(2, 0.7, size=(250, 16))
    metric = FrechetInceptionDistance(feature=ExternalSample(16)).set_dtype(torch.float64)
    metric.update(torch.from_numpy(real), real=True)
    metric.update(torch.from_numpy(generated), real=False)
    assert frechet_distance(generated, real) == pytest.approx(float(metric.compute()), rel=1e-4)


def test_moments_keep_their_digits_far_from_zero() -> None:
    features = np.random.default_rng(0).normal(size=(80, 4)) + 1e5  # where sums of squares lose their digits
    assert np.allclose(Moments.of(features).covariance, np.cov(features, rowvar=False), rtol=1e-9)


def test_the_estimate_has_equal_galaxies_and_no_order() -> None:
    rng = np.random.default_rng(0)
    real, far = rng.normal(size=(300, 3)), rng.normal(size=(200, 3)) + 1
    found = frechet(far, real, seed=0)
    assert found.n == 100 and found.low < found.value < found.high
    assert found.value == pytest.approx(3, rel=0.3)
    assert frechet(rng.permutation(far), rng.permutation(real), seed=0) == found
    real_baseline = frechet(rng.normal(size=(200, 3)), real, seed=0)
    assert real_baseline.high < found.low


def test_constant_features_are_at_the_distance_of_their_means() -> None:
    a = np.ones((5, 3))
    assert frechet_distance(a, a) == 0
    assert frechet_distance(a, a + 2) == pytest.approx(12)
    assert frechet_distance(np.ones((5, 1)), np.zeros((4, 1))) == pytest.approx(1)


def test_bad_and_few_features_are_refused() -> None:
    with pytest.raises(InputError, match="real: row 1 holds a value"):
        frechet_distance(np.ones((3, 2)), np.array([[1, 2], [3, np.nan]]))
    with pytest.raises(TooFewGalaxies, match="generated: 1 galaxy, at least 2"):
        frechet_distance(np.ones((1, 2)), np.ones((3, 2)))
    with pytest.raises(TooFewGalaxies, match="1 galaxy, at least 2"):
        frechet_from_moments(Moments.of(np.ones((1, 2))), Moments.of(np.ones((4, 2))))
    with pytest.raises(
        TooFewGalaxies, match=r"generated: 9 galaxies, at least 10 are needed \(two subsets of more than 4"
    ):
        frechet(np.ones((9, 4)), np.ones((20, 4)), seed=0)
