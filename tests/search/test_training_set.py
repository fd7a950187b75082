"""Examples of a search: split by kind, shared among members."""

import numpy as np

from galaxysd.search.training_set import Group, places, split


def group(kind: str, n: int, *, label: int = 0, generated: bool = False) -> Group:
    images = np.full((n, 8, 8, 3), 90, np.uint8)
    return Group(kind, label, tuple(f"{kind}:{index}" for index in range(n)), images, generated)


def test_every_kind_is_held_out_by_the_same_share_and_nothing_is_in_both() -> None:
    groups = [
        group("target", 50, label=1, generated=True),
        group("unlabelled", 20),
        group("known", 2, label=1),
        group("vetted", 1),
    ]
    learned, held = split(groups, 0.2, seed=0)
    assert [len(one.ids) for one in held] == [10, 4, 1, 0]
    for whole, first, second in zip(groups, learned, held, strict=True):
        assert sorted((*first.ids, *second.ids)) == sorted(whole.ids)
    assert split(groups, 0.2, seed=0)[1][0].ids == held[0].ids != split(groups, 0.2, seed=1)[1][0].ids


def test_members_share_unlabelled_galaxies_only() -> None:
    unlabelled, known = group("unlabelled", 11), group("known", 3, label=1)
    parts = [places(unlabelled, member, 3) for member in range(3)]
    assert sorted(np.concatenate(parts)) == list(range(11))
    assert all(places(known, member, 3).tolist() == [0, 1, 2] for member in range(3))
