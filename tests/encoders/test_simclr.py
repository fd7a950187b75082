"""The contrastive loss against its definition, and the two measures against arrangements whose values are known."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from galaxysd.encoders.galaxyemb import EncoderNetwork, EncoderSettings
from galaxysd.encoders.simclr import ContrastiveModel, SimCLRSettings, SimCLRTask, alignment, nt_xent, uniformity
from galaxysd.nn import ImageScale

TINY = EncoderSettings(patch=4, widths=(16, 16), blocks=1)


def vectors(count: int, length: int, seed: int) -> Tensor:
    return torch.randn(count, length, generator=torch.Generator().manual_seed(seed))


def naive_nt_xent(first: Tensor, second: Tensor, temperature: float) -> float:
    """Equation 1 of Chen et al. 2020, term by term."""
    points = [*first.double(), *second.double()]
    pairs = len(first)

    def likeness(i: int, k: int) -> float:
        return float(points[i] @ points[k] / (points[i].norm() * points[k].norm())) / temperature

    total = 0.0
    for i in range(2 * pairs):
        partner = (i + pairs) % (2 * pairs)
        others = sum(math.exp(likeness(i, k)) for k in range(2 * pairs) if k != i)
        total -= math.log(math.exp(likeness(i, partner)) / others)
    return total / (2 * pairs)


@given(st.integers(2, 6), st.integers(0, 1000), st.floats(0.1, 2))
def test_loss_is_that_of_the_paper(pairs: int, seed: int, temperature: float) -> None:
    first, second = vectors(pairs, 5, seed), vectors(pairs, 5, seed + 1)
    expected = naive_nt_xent(first, second, temperature)
    assert float(nt_xent(first, second, temperature)) == pytest.approx(expected, rel=1e-4)
    assert float(nt_xent(second, first, temperature)) == pytest.approx(expected, rel=1e-4)
    assert float(nt_xent(3 * first, 0.1 * second, temperature)) == pytest.approx(expected, rel=1e-4)


def test_loss_falls_as_partners_meet_and_is_that_of_luck_when_all_are_the_same() -> None:
    first, noise = vectors(16, 8, 0), vectors(16, 8, 1)
    losses = [float(nt_xent(first, first + apart * noise, 0.2)) for apart in (0.1, 0.5, 2.0, 100.0)]
    assert losses == sorted(losses) and losses[0] < 0.5 * losses[-1]
    same = torch.ones(16, 8)
    assert float(nt_xent(same, same, 0.2)) == pytest.approx(math.log(31))


def test_alignment_of_known_arrangements() -> None:
    points = vectors(50, 8, 0)
    assert float(alignment(points, 2 * points)) == pytest.approx(0, abs=1e-6)
    assert float(alignment(points, -points)) == pytest.approx(4)
    assert float(alignment(vectors(4000, 8, 0), vectors(4000, 8, 1))) == pytest.approx(2, abs=0.05)


def test_uniformity_falls_as_the_sphere_fills() -> None:
    assert float(uniformity(torch.ones(20, 8))) == pytest.approx(0, abs=1e-5)
    opposite = torch.cat([torch.ones(1, 8), -torch.ones(1, 8)])
    assert float(uniformity(opposite)) == pytest.approx(-8)  # one pair, distance 2
    crowded = float(uniformity(vectors(300, 128, 0) + 3))
    assert crowded > -1
    assert float(uniformity(vectors(300, 128, 0))) == pytest.approx(-4, abs=0.2)  # distances of sqrt(2)


class Stripes:
    """Galaxies for tests: eight kinds that differ in colour."""

    def __len__(self) -> int:
        return 24

    def images(self, indices: np.ndarray) -> Tensor:
        kinds = torch.from_numpy(indices % 8)
        colours = torch.stack([kinds & 1, kinds >> 1 & 1, kinds >> 2 & 1], dim=1) * 150 + 40
        return colours[:, :, None, None].expand(-1, -1, 16, 16).to(torch.uint8)


def make_task() -> SimCLRTask:
    torch.manual_seed(0)
    model = ContrastiveModel(EncoderNetwork(TINY, ImageScale()), projection=8)
    return SimCLRTask(model, SimCLRSettings(), Stripes())


def test_the_task_learns_and_its_draws_follow_the_generator() -> None:
    task = make_task()
    batch = {"images": Stripes().images(np.arange(8))}
    first, again, other = (
        float(task.loss(task.model, batch, torch.Generator().manual_seed(seed))[0].detach()) for seed in (1, 1, 2)
    )
    assert again == pytest.approx(first, abs=1e-3) and abs(other - first) > 0.01  # a step normalises the weights anew
    optimizer = torch.optim.Muon(task.model.parameters(), lr=0.05, adjust_lr_fn="match_rms_adamw")  # matrices only
    losses = []
    for step in range(40):
        loss, _ = task.loss(task.model, batch, torch.Generator().manual_seed(step))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])


def test_a_snapshot_looks_at_the_weights_it_is_given_and_changes_nothing(tmp_path: Path) -> None:
    task = make_task()
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    mine = task.snapshot(before, tmp_path, 0)
    assert mine == task.snapshot(before, tmp_path, 0)
    flipped = {name: value.flip(0) if value.ndim == 2 else value for name, value in before.items()}
    assert mine != task.snapshot(flipped, tmp_path, 0)
    shorter = {name: 0.5 * value if value.ndim == 2 else value for name, value in before.items()}
    assert task.snapshot(shorter, tmp_path, 0) == pytest.approx(mine, abs=1e-3)  # an average of weights is shorter
    assert task.model.training
    assert all(torch.equal(value, before[name]) for name, value in task.model.state_dict().items())
    assert set(mine) == {"held_out", "alignment", "uniformity"}
