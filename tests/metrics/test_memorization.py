"""Memory: copies are found in pixels and in features, and real galaxies raise no alarm."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxysd.data.transforms import dihedral
from galaxysd.errors import InputError
from galaxysd.metrics.memorization import alarm, authentic, duplicates, nearest, nearest_features, two_models
from galaxysd.stats import TooFewGalaxies


@pytest.fixture(scope="module")
def train() -> torch.Tensor:
    return torch.randint(256, (200, 3, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def test_a_turned_copy_is_found(train: torch.Tensor) -> None:
    places, turns = torch.tensor([0, 5, 127, 128, 199, 7, 8, 9]), torch.arange(8)
    found = nearest(dihedral(train[places], turns), train)
    assert found.index.tolist() == places.tolist() and found.orientation.tolist() == turns.tolist()
    assert found.distance.tolist() == [0.0] * 8


def test_neighbours_are_those_of_a_plain_search(train: torch.Tensor) -> None:
    queries = torch.randint(256, (5, 3, 8, 8), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    found = nearest(queries, train)
    for query, distance in zip(queries, found.distance, strict=True):
        turned = torch.cat([dihedral(train, torch.full((200,), turn)) for turn in range(8)])
        plain = (turned.double() - query).square().mean(dim=(1, 2, 3)).sqrt().min()
        assert distance == pytest.approx(float(plain), rel=1e-5)


def test_the_alarm_allows_for_chance() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(12, 2, 1000)
    assert not alarm(real, real)[1]
    assert alarm(np.full(20, 2.0), real) == (1.0, True)
    few = np.concatenate([rng.normal(12, 0.5, 62), [1.0, 1.0]])  # two of 64 come up by chance now and then
    assert alarm(few, real) == (2 / 64, False)
    assert alarm(np.append(few, [1.0, 1.0, 1.0]), real)[1]


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
@settings(max_examples=25, deadline=None)
def test_order_and_blocks_do_not_matter_in_features(seed: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    known, generated = rng.normal(size=(50, 3)), rng.normal(size=(20, 3))
    ours, theirs = rng.permutation(20), rng.permutation(50)
    distance, index = nearest_features(generated, known)
    apart = np.linalg.norm(generated[:, None] - known, axis=2)
    assert np.array_equal(index, apart.argmin(axis=1)) and np.allclose(distance, apart.min(axis=1))
    other, place = nearest_features(generated[ours], known[theirs], block=block)
    assert np.array_equal(distance[ours], other) and np.array_equal(index[ours], theirs[place])
    flags = authentic(generated, known)
    assert np.array_equal(flags[ours], authentic(generated[ours], known[theirs], block=block))
    twins = duplicates(generated, known, quantile=0.05)
    again = duplicates(generated[ours], known[theirs], quantile=0.05, block=block)
    assert twins.threshold == again.threshold and np.array_equal(twins.flags[ours], again.flags)


def test_authenticity_by_hand() -> None:
    known = np.array([[0.0], [1.0], [10.0]])  # own neighbours at 1, 1 and 9
    generated = np.array([[-2.0], [-1.0], [0.4], [10.0], [18.9], [19.1]])
    assert authentic(generated, known).tolist() == [True, False, False, False, False, True]
    repeated = np.array([[0.0], [0.0], [5.0]])
    assert authentic(np.array([[0.0], [0.1]]), repeated).tolist() == [False, True]


def test_authenticity_falls_with_copies() -> None:
    rng = np.random.default_rng(0)
    known = rng.normal(size=(500, 8))
    real, copies = rng.normal(size=(300, 8)), known[:300] + 0.01 * rng.normal(size=(300, 8))
    assert 0.4 < authentic(real, known).mean() < 0.65
    assert authentic(copies, known).mean() == 0
    mixed = authentic(np.concatenate([real[:150], copies[:150]]), known).mean()
    assert 0.2 < mixed < 0.33


def test_duplicates_are_rare_among_real_galaxies_and_found_among_dreams() -> None:
    rng = np.random.default_rng(0)
    real, other = rng.normal(size=(300, 6)), rng.normal(size=(300, 6))
    pairs = np.linalg.norm(real[:, None] - real, axis=2)[np.triu_indices(300, 1)]
    fair = duplicates(other, real)
    assert fair.threshold == pytest.approx(np.sort(pairs)[3])  # 1e-4 of 44,850 pairs: the nearest four
    assert fair.flags.mean() < 0.1
    twice = np.concatenate([other[:150], other[:150] + 1e-3])
    found = duplicates(twice, real)
    assert found.flags.all() and np.array_equal(found.index, (np.arange(300) + 150) % 300)
    assert duplicates(np.ones((5, 6)), real).flags.all()


def test_two_models_that_learned_the_same_draw_the_same() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 256, (30, 8, 8, 3)).astype(np.uint8)
    close = (drawn ^ 1).astype(np.uint8)  # one step off everywhere
    alike = two_models(drawn, close)
    assert np.allclose(alike.same, 1) and alike.agreement == 1 and alike.ratio < 0.02
    apart = two_models(drawn, rng.integers(0, 256, drawn.shape).astype(np.uint8))
    assert apart.ratio == pytest.approx(1, abs=0.05) and apart.agreement == pytest.approx(0.5, abs=0.15)
    order = rng.permutation(30)
    again = two_models(drawn[order], close[order])
    assert np.array_equal(again.same, alike.same[order]) and np.array_equal(again.different, alike.different[order])
    assert two_models(drawn, drawn).ratio == 0


def test_two_models_are_not_told_apart_by_their_prompts() -> None:
    rng = np.random.default_rng(0)
    prompts = np.repeat([0, 1], 20)
    bright = (100 * prompts[:, None, None] + 50).astype(np.int64)
    first, second = (np.clip(bright + rng.integers(-9, 10, (40, 6, 6)), 0, 255).astype(np.uint8) for _ in range(2))
    assert two_models(first, second).agreement > 0.7  # the prompt gives the pair away
    assert two_models(first, second, prompts=prompts).agreement == pytest.approx(0.5, abs=0.12)
    names = np.array(["smooth", "bar"])[prompts]
    assert np.array_equal(
        two_models(first, second, prompts=names).told, two_models(first, second, prompts=prompts).told
    )


def test_constant_images_tell_nothing() -> None:
    flat = np.zeros((4, 2, 2), np.uint8)
    with pytest.raises(InputError, match="all are equal"):
        two_models(flat, flat)


def test_bad_and_few_galaxies_are_refused() -> None:
    ones = np.ones((4, 2))
    with pytest.raises(InputError, match="real: row 3 holds a value"):
        authentic(ones, np.array([[1.0, 1.0]] * 3 + [[np.nan, 1.0]]))
    with pytest.raises(TooFewGalaxies, match="train: 1 galaxy, at least 2"):
        authentic(ones, ones[:1])
    with pytest.raises(TooFewGalaxies, match=r"real: 141 galaxies, at least 142 are needed \(quantile 0.0001"):
        duplicates(ones, np.ones((141, 2)))
    assert duplicates(ones, np.ones((142, 2))).threshold == 0
    with pytest.raises(TooFewGalaxies, match="generated: 1 galaxy, at least 2"):
        duplicates(ones[:1], np.ones((200, 2)))
    images = np.zeros((3, 2, 2), np.uint8)
    with pytest.raises(InputError, match=r"second: images of shape \[2, 2, 2\], but the first are \[3, 2, 2\]"):
        two_models(images, images[:2])
    with pytest.raises(InputError, match="prompts: 2 of them for 3 images"):
        two_models(images, images, prompts=[0, 1])
    with pytest.raises(TooFewGalaxies, match="prompt 1: 1 image, at least 2"):
        two_models(images, images, prompts=[0, 0, 1])
