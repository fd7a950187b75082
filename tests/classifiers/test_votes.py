"""Votes are learned from counts where they are told and from fractions where they are not."""

from pathlib import Path

import numpy as np
import pytest
import torch

from galaxysd.catalog.tree import DecisionTree
from galaxysd.classifiers import losses
from galaxysd.classifiers.votes import VotePool, question_losses
from galaxysd.data.dataset import Dataset

TREE = DecisionTree.load("gz2")


def batch(votes: float) -> dict[str, torch.Tensor]:
    """One galaxy, smooth for 70 %, of which nothing else is known."""
    fractions = torch.zeros(1, len(TREE.columns))
    fractions[0, :3] = torch.tensor([0.7, 0.3, 0.0])
    known = torch.zeros(1, len(TREE.questions), dtype=torch.bool)
    known[0, 0] = True
    counts = torch.full((1, len(TREE.questions)), float("nan"))
    counts[0, 0] = votes
    return {"fractions": fractions, "known": known, "votes": counts}


def test_questions_are_taken_apart_as_the_tree_says() -> None:
    names = [TREE.columns[place] for place in TREE.slices]
    assert [tuple(part) for part in names] == [tuple(question.columns) for question in TREE.questions]


def test_only_known_questions_count() -> None:
    outputs = torch.randn(1, len(TREE.columns), generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = question_losses(outputs, batch(20), TREE, "dirichlet-multinomial")
    share = losses.concentrations(outputs[:, :3])
    expected = losses.dirichlet_multinomial(share, torch.tensor([[14.0, 6.0, 0.0]]))
    assert torch.allclose(found[0, :1], expected) and bool((found[0, 1:] == 0).all())
    found.sum().backward()
    assert outputs.grad is not None and bool(torch.isfinite(outputs.grad).all())
    assert float(outputs.grad[:, 3:].abs().sum()) == 0 and float(outputs.grad[:, :3].abs().min()) > 0


def test_more_votes_teach_more() -> None:
    gradients = []
    for votes in (2.0, 40.0):
        outputs = torch.zeros(1, len(TREE.columns), requires_grad=True)
        question_losses(outputs, batch(votes), TREE, "dirichlet-multinomial").sum().backward()
        assert outputs.grad is not None
        gradients.append(float(outputs.grad.abs().sum()))
    assert gradients[1] > 4 * gradients[0]


@pytest.mark.parametrize("likelihood", ["dirichlet-multinomial", "beta-binomial"])
def test_uncounted_fractions_teach_as_cross_entropy(likelihood: str) -> None:
    outputs = torch.zeros(1, len(TREE.columns))
    found = question_losses(outputs, batch(float("nan")), TREE, likelihood)  # type: ignore[arg-type]
    assert float(found.sum()) == pytest.approx(np.log(3), rel=1e-5)


def test_counts_belong_to_their_galaxies(toy: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(toy)
    pool = VotePool([dataset], "train", tmp_path / "pixels")
    rows = dict(zip(dataset.ids(), dataset.catalog.votes(), strict=True))
    for name, votes in zip(pool.pool.ids, pool.votes, strict=True):
        assert np.array_equal(votes, rows[name.removeprefix("toy:")], equal_nan=True)
    first = pool.batch(8, torch.Generator().manual_seed(0))
    again = pool.batch(8, torch.Generator().manual_seed(0))
    assert all(torch.equal(first[name].nan_to_num(), again[name].nan_to_num()) for name in first)
    assert first["images"].shape == (8, 3, 16, 16) and first["votes"].shape == (8, len(TREE.questions))
