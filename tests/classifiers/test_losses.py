"""Losses against what other libraries and the definitions say."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import betabinom, dirichlet_multinomial
from torch.nn import functional

from galaxysd.classifiers import losses

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(6, 4, generator=GENERATOR)
LABELS = torch.tensor([0, 1, 2, 3, 0, 1])
HARD = functional.one_hot(LABELS, 4).float()


def test_cross_entropy_is_that_of_torch() -> None:
    soft = torch.softmax(torch.randn(6, 4, generator=GENERATOR), dim=1)
    for targets in (HARD, soft):
        expected = functional.cross_entropy(LOGITS, targets, reduction="none")
        assert torch.allclose(losses.cross_entropy(LOGITS, targets), expected)


def test_focal_loss() -> None:
    assert torch.allclose(losses.focal(LOGITS, HARD, 0.0), losses.cross_entropy(LOGITS, HARD))
    p = torch.softmax(LOGITS, dim=1)[torch.arange(6), LABELS]
    assert torch.allclose(losses.focal(LOGITS, HARD, 2.0), -((1 - p) ** 2) * p.log())
    easy, hard = torch.tensor([[6.0, 0.0]]), torch.tensor([[-1.0, 0.0]])
    first = torch.tensor([[1.0, 0.0]])
    ratio = {gamma: float(losses.focal(easy, first, gamma) / losses.focal(hard, first, gamma)) for gamma in (0.0, 2.0)}
    assert ratio[2.0] < 1e-3 * ratio[0.0]


@pytest.mark.parametrize("sure", [60.0, -60.0])
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_loss_has_finite_gradients_where_it_is_sure(sure: float, gamma: float) -> None:
    logits = torch.tensor([[sure, 0.0, 0.0]], requires_grad=True)
    losses.focal(logits, torch.tensor([[1.0, 0.0, 0.0]]), gamma).sum().backward()
    assert logits.grad is not None and bool(torch.isfinite(logits.grad).all())


def test_votes_against_scipy() -> None:
    concentration = torch.tensor([[2.0, 5.5, 1.0], [30.0, 1.2, 4.0]], dtype=torch.float64)
    counts = torch.tensor([[3.0, 7.0, 0.0], [0.0, 0.0, 12.0]], dtype=torch.float64)
    found = losses.dirichlet_multinomial(concentration, counts)
    expected = [
        -dirichlet_multinomial.logpmf(n.astype(int), a, int(n.sum()))
        for a, n in zip(concentration.numpy(), counts.numpy(), strict=True)
    ]
    assert np.allclose(found.numpy(), expected)
    each = [
        -sum(betabinom.logpmf(int(k), int(n.sum()), a, alpha.sum() - a) for a, k in zip(alpha, n, strict=True))
        for alpha, n in zip(concentration.numpy(), counts.numpy(), strict=True)
    ]
    assert np.allclose(losses.beta_binomial(concentration, counts).numpy(), each)


def test_no_votes_teach_nothing() -> None:
    outputs = torch.zeros(1, 3, requires_grad=True)
    found = losses.dirichlet_multinomial(losses.concentrations(outputs), torch.zeros(1, 3))
    found.sum().backward()
    assert float(found.detach()) == pytest.approx(0, abs=1e-5) and outputs.grad is not None
    assert float(outputs.grad.abs().max()) < 1e-5


@pytest.mark.parametrize("loss", [losses.dirichlet_multinomial, losses.beta_binomial])
def test_votes_are_likeliest_near_their_fractions(loss) -> None:  # type: ignore[no-untyped-def]
    counts = torch.tensor([[14.0, 6.0]])
    costs = [float(loss(20 * torch.tensor([[share, 1 - share]]), counts)) for share in (0.3, 0.5, 0.7, 0.9)]
    assert min(costs) == costs[2]


def test_expected_fractions_are_normalised() -> None:
    concentration = torch.tensor([[3.0, 1.0]])
    one = losses.expected_fractions(concentration, torch.tensor([[0.5, 0.5]]))
    two = losses.expected_fractions(concentration, torch.tensor([[1.0, 1.0]]))
    assert float(one) == float(two) == pytest.approx(-0.5 * math.log(0.75) - 0.5 * math.log(0.25))
