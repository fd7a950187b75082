"""Weight averages: what one remembers, and that two stored ones give one of any other length."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from galaxysd.training.ema import ExponentialMovingAverage, Snapshot, swapped, synthesise

BATCH, STEPS = 10, 600


def walk(fractions: list[float], *, seed: int, every: int) -> tuple[list[list[Snapshot]], torch.Tensor]:
    """Averages of a random walk, stored every so many steps, and the last point of the walk.

    The walk drifts by 3 and wanders by about 1, as weights do while they learn.
    """
    generator = torch.Generator().manual_seed(seed)
    model = nn.Linear(16, 16, bias=False)
    averages = [ExponentialMovingAverage(model, fraction=fraction) for fraction in fractions]
    drift = torch.randn((16, 16), generator=generator) * 3 / STEPS
    stored: list[list[Snapshot]] = [[] for _ in fractions]
    with torch.no_grad():
        model.weight.zero_()
        for step in range(1, STEPS + 1):
            model.weight += drift + torch.randn((16, 16), generator=generator) / STEPS**0.5
            for average, kept in zip(averages, stored, strict=True):
                average.update(model, images_seen=step * BATCH, batch=BATCH)
                if step % every == 0:
                    weights = {name: value.half() for name, value in average.weights.items()}
                    kept.append(Snapshot(average.fraction, step * BATCH, weights))
    return stored, model.weight.detach().clone()


@settings(max_examples=8, deadline=None)
@given(fraction=st.floats(0.04, 0.3), seed=st.integers(0, 1000), every=st.sampled_from([30, 50, 75]))
def test_two_stored_averages_give_one_of_any_length(fraction: float, seed: int, every: int) -> None:
    stored, last = walk([0.05, 0.1, fraction], seed=seed, every=every)
    wanted = stored[2][-1]
    found = synthesise([*stored[0], *stored[1]], fraction, wanted.images_seen)["weight"]
    direct = wanted.weights["weight"].float()
    error = (found - direct).square().mean().sqrt()
    # What the choice of a length is about is how far an average is from the weights of now.
    assert float(error) < 0.05 * float((last - direct).square().mean().sqrt())


def test_it_can_be_rebuilt_for_any_stored_moment() -> None:
    stored, _ = walk([0.05, 0.1, 0.08], seed=0, every=50)
    for number in (5, 8, 11):
        wanted = stored[2][number]
        earlier = [*stored[0][: number + 1], *stored[1][: number + 1]]
        found = synthesise(earlier, 0.08, wanted.images_seen)["weight"]
        direct = wanted.weights["weight"].float()
        assert float((found - direct).norm() / direct.norm()) < 0.02


def test_a_stored_length_comes_back_as_it_was() -> None:
    stored, _ = walk([0.05, 0.1], seed=1, every=100)
    found = synthesise([*stored[0], *stored[1]], 0.1, STEPS * BATCH)["weight"]
    assert torch.allclose(found, stored[1][-1].weights["weight"].float(), atol=0.01)


def test_without_snapshots_there_is_no_average() -> None:
    with pytest.raises(ValueError, match="no snapshots"):
        synthesise([], 0.1, 100)


@given(fraction=st.floats(0.02, 1.0))
def test_weights_that_stand_still_are_their_own_average(fraction: float) -> None:
    model = nn.Linear(2, 2)
    average = ExponentialMovingAverage(model, fraction=fraction)
    for step in range(1, 20):
        average.update(model, images_seen=8 * step, batch=8)
    assert all(torch.allclose(average.weights[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.25])
def test_memory_is_a_share_of_what_was_seen(fraction: float) -> None:
    """The weights after t images count by t^gamma, so their mean time is (gamma + 1) / (gamma + 2) of the whole."""
    model = nn.Linear(1, 1, bias=False)
    average = ExponentialMovingAverage(model, fraction=fraction)
    with torch.no_grad():
        for step in range(1, 4001):
            model.weight.fill_(step / 4000)
            average.update(model, images_seen=8 * step, batch=8)
    assert float(average.weights["weight"]) == pytest.approx(1 / (1 + fraction), abs=0.002)


def test_swapped_weights_are_put_back_whatever_happens() -> None:
    model = nn.Linear(2, 2)
    own = {name: value.clone() for name, value in model.state_dict().items()}
    other = {name: value + 1 for name, value in own.items()}
    with pytest.raises(KeyError), swapped(model, other):
        assert torch.equal(model.weight, own["weight"] + 1)
        raise KeyError
    assert all(torch.equal(value, own[name]) for name, value in model.state_dict().items())
