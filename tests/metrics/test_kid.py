"""Kernel distance: against plain sums, against torchmetrics, block by block, and its directions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxysd.errors import InputError
from galaxysd.metrics.kid import kid, squared_mmd
from galaxysd.stats import TooFewGalaxies


def plain(x: np.ndarray, y: np.ndarray) -> float:
    """The definition, pair by pair."""

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    def within(z: np.ndarray) -> float:
        return float(np.mean([k(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j]))

    return within(x) + within(y) - 2 * float(np.mean([k(a, b) for a in x for b in y]))


@given(st.integers(0, 2**32 - 1), st.integers(1, 20))
@settings(max_examples=20, deadline=None)
def test_it_is_the_definition_whatever_the_order_and_blocks(seed: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(9, 4)), rng.normal(0.5, 2, size=(12, 4))
    expected = plain(x, y)
    assert squared_mmd(x, y) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert squared_mmd(rng.permutation(x), rng.permutation(y), block=block) == pytest.approx(
        expected, rel=1e-9, abs=1e-9
    )
    assert squared_mmd(y, x) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save:UserWarning")
def test_it_agrees_with_torchmetrics() -> None:
    from torchmetrics.image.kid import KernelInceptionDistance

    rng = np.random.default_rng(1)
    real, generated = rng.normal(size=(200, 16)), rng.gamma(2, 0.7, size=(200, 16))
    metric = KernelInceptionDistance(feature=torch.nn.Identity(), subsets=1, subset_size=200)
    metric.update(torch.from_numpy(real), real=True)
    metric.update(torch.from_numpy(generated), real=False)
    assert squared_mmd(generated, real) == pytest.approx(float(metric.compute()[0]), rel=1e-4)


def test_it_is_unbiased() -> None:
    rng = np.random.default_rng(0)
    values = [squared_mmd(rng.normal(size=(20, 3)), rng.normal(size=(30, 3))) for _ in range(400)]
    assert np.min(values) < 0
    assert abs(np.mean(values)) < 3 * np.std(values) / 20


def test_equal_samples_are_near_zero_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(400, 8))
    same, real_baseline = kid(real, real, seed=0), kid(rng.normal(size=(400, 8)), real, seed=0)
    near, far = kid(real + 0.3, real, seed=0), kid(real + 1, real, seed=0)
    assert (
        -0.05 < same.value < 0 and real_baseline.low < 0 < real_baseline.high
    )  # equal galaxies are nearer than equal distributions
    assert real_baseline.high < near.low and near.high < far.low
    assert near.n == 200


def test_subsets_do_not_depend_on_order() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(60, 3)), rng.normal(size=(50, 3))
    found = kid(a, b, seed=4, size=20, repeats=10)
    assert kid(rng.permutation(a), rng.permutation(b), seed=4, size=20, repeats=10) == found
    assert kid(a, b, seed=5, size=20, repeats=10) != found and found.n == 20


def test_constant_features() -> None:
    assert squared_mmd(np.ones((5, 3)), np.ones((4, 3))) == pytest.approx(0, abs=1e-12)
    assert squared_mmd(np.ones((5, 3)), np.zeros((4, 3))) == pytest.approx(8 + 1 - 2)


def test_bad_and_few_features_are_refused() -> None:
    with pytest.raises(InputError, match="generated: row 0 holds a value"):
        squared_mmd(np.full((3, 2), np.nan), np.ones((3, 2)))
    with pytest.raises(TooFewGalaxies, match="real: 1 galaxy, at least 2"):
        squared_mmd(np.ones((3, 2)), np.ones((1, 2)))
    with pytest.raises(TooFewGalaxies, match="generated: 30 galaxies, at least 40"):
        kid(np.ones((30, 2)), np.ones((90, 2)), seed=0, size=20)
    with pytest.raises(TooFewGalaxies, match="generated: 3 galaxies, at least 4"):
        kid(np.ones((3, 2)), np.ones((90, 2)), seed=0)
