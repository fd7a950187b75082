"""The ranker: what counts how much, and that it finds what it was taught."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.encoders.registry import load_encoder
from galaxysd.search.ranker import RankerSettings, domain_shift, group_weights, shift_features, train_ranker
from galaxysd.search.training_set import Group

KINDS = {
    "target": (1, True),
    "known": (1, False),
    "vetted": (1, False),
    "no_feature": (0, True),
    "background": (0, True),
    "refused": (0, False),
    "unlabelled": (0, False),
}


def group(kind: str, n: int, *, light: int = 90, seed: int = 0) -> Group:
    label, synthetic = KINDS[kind]
    noise = np.random.default_rng([seed, len(kind)]).integers(0, 20, (n, 8, 8, 3))
    images = np.asarray(noise + light, np.uint8)
    galaxies = GalaxySet(images, [f"{kind}:{index}" for index in range(n)], synthetic=synthetic)
    return Group(kind, label, galaxies, synthetic)


def masses(**counts: int) -> dict[str, float]:
    """Share of the whole weight that each kind has."""
    groups = [group(kind, n) for kind, n in counts.items()]
    weights = group_weights(groups, list(counts.values()), RankerSettings(real=10, near=0.3))
    total = sum(counts.values())
    return {kind: float(weight) * n / total for (kind, n), weight in zip(counts.items(), weights, strict=True)}


def test_ten_known_galaxies_count_as_much_as_all_generated_ones() -> None:
    found = masses(target=600, known=6, vetted=4, no_feature=300, background=300, unlabelled=3000)
    assert found["target"] == pytest.approx(0.25) and found["known"] + found["vetted"] == pytest.approx(0.25)
    assert found["no_feature"] + found["background"] == pytest.approx(0.15) and found["unlabelled"] == pytest.approx(
        0.35
    )


def test_refused_candidates_are_hard_negatives() -> None:
    found = masses(target=600, no_feature=300, refused=30, unlabelled=3000)
    assert found["refused"] == pytest.approx(0.5 * 0.3 * 30 / 40) and found["no_feature"] == pytest.approx(
        0.5 * 0.3 / 4
    )


def test_what_is_absent_leaves_its_weight_to_the_others() -> None:
    assert masses(known=3, unlabelled=30) == pytest.approx({"known": 0.5, "unlabelled": 0.5})
    assert masses(target=3, no_feature=30) == pytest.approx({"target": 0.5, "no_feature": 0.5})


@given(st.fixed_dictionaries({kind: st.integers(1, 500) for kind in KINDS}))
def test_both_classes_weigh_alike_and_the_mean_is_one(counts: dict[str, int]) -> None:
    found = masses(**counts)
    assert sum(found.values()) == pytest.approx(1)
    assert sum(value for kind, value in found.items() if KINDS[kind][0]) == pytest.approx(0.5)


def test_it_finds_what_it_was_taught_and_its_members_make_the_mean() -> None:
    encoder = load_encoder("pixels")
    learned = [group("target", 40, light=160), group("background", 40), group("unlabelled", 90)]
    held = [group("target", 20, light=160, seed=1), group("background", 20, seed=1), group("known", 0)]
    ranker = train_ranker(encoder, learned, held, RankerSettings(), members=3)
    images = np.concatenate([group("unlabelled", 5, light=light, seed=2).galaxies.images for light in (90, 160)])
    score, spread = ranker(images)
    assert score[:5].max() < 0.5 < score[5:].min()
    assert len(ranker.members) == 3 and len(ranker.without(1).members) == 2 and (spread >= 0).all()
    each = [ranker.without(member)(images)[0] for member in range(3)]
    assert np.mean(each, axis=0) == pytest.approx(score)


def test_the_style_of_the_generator_is_taken_away() -> None:
    groups = [group("target", 2), group("background", 2), group("known", 1), group("unlabelled", 3)]
    seen = [np.full((len(one), 4), value) for one, value in zip(groups, (9.0, 5.0, 7.0, 3.0), strict=True)]
    shift = domain_shift(groups, seen)
    assert shift == pytest.approx([-2.0] * 4)
    assert [features[0, 0] for features in shift_features(groups, seen, shift)] == pytest.approx([7.0, 3.0, 7.0, 3.0])
    assert not domain_shift(groups[2:], seen[2:]).any()


def test_a_difference_that_may_be_luck_is_no_style() -> None:
    groups = [group("background", 100), group("unlabelled", 400)]
    rng = np.random.default_rng(0)
    mix, real = rng.standard_normal((100, 8)), rng.standard_normal((400, 8))
    assert not domain_shift(groups, [mix, real]).any()
    mix[:, 2] += 5.0
    assert domain_shift(groups, [mix, real]).argmin() == 2
    assert domain_shift(groups, [mix, real])[2] == pytest.approx(-5, abs=0.5)


def test_the_ranker_does_not_see_the_style_of_the_generator() -> None:
    encoder = load_encoder("pixels")
    styled = [group("target", 40, light=150), group("background", 40, light=110), group("unlabelled", 90, light=90)]
    ranker = train_ranker(encoder, styled, [], RankerSettings(), members=3)
    dull = group("background", 20, light=110, seed=1).images
    assert ranker(dull, generated=True)[0].mean() < ranker(dull)[0].mean()
