"""Examples of a search: split by kind, shared among members."""

import numpy as np

from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.search.training_set import Group, split


def group(kind: str, n: int, *, label: int = 0, synthetic: bool = False) -> Group:
    images = np.full((n, 8, 8, 3), 90, np.uint8)
    galaxies = GalaxySet(images, [f"{kind}:{index}" for index in range(n)], synthetic=synthetic)
    return Group(kind, label, galaxies, synthetic)


def test_every_kind_is_held_out_by_the_same_share_and_nothing_is_in_both() -> None:
    groups = [
        group("target", 50, label=1, synthetic=True),
        group("unlabelled", 20),
        group("known", 2, label=1),
        group("vetted", 1),
    ]
    learned, held = split(groups, 0.2, seed=0)
    assert [len(one) for one in held] == [10, 4, 1, 0]
    for whole, first, second in zip(groups, learned, held, strict=True):
        assert sorted((*first.galaxies.ids, *second.galaxies.ids)) == sorted(whole.galaxies.ids)
    again, other = (split(groups, 0.2, seed=seed)[1][0].galaxies.ids for seed in (0, 1))
    assert again == held[0].galaxies.ids != other


def test_members_share_unlabelled_galaxies_only() -> None:
    unlabelled, known = group("unlabelled", 11), group("known", 3, label=1)
    parts = [unlabelled.indices(member, 3) for member in range(3)]
    assert sorted(np.concatenate(parts)) == list(range(11))
    assert all(known.indices(member, 3).tolist() == [0, 1, 2] for member in range(3))
