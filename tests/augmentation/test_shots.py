"""Few shots are drawn per class, nested, and validation comes out of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxysd.augmentation.methods import draw_shots
from galaxysd.errors import InputError

NAMES = ("a", "b", "c")
LABELS = np.repeat([0, 1, 2], [40, 12, 5])


@given(shots=st.one_of(st.none(), st.integers(3, 40)), seed=st.integers(0, 1000))
def test_shots_are_of_their_class_and_held_out_ones_are_among_them(shots: int | None, seed: int) -> None:
    drawn = draw_shots(LABELS, NAMES, shots, seed)
    places = np.concatenate([drawn.train, drawn.held_out])
    assert len(set(places.tolist())) == len(places)
    wanted = tuple(min(n, shots or n) for n in (40, 12, 5))
    assert drawn.counts == wanted == tuple(np.bincount(LABELS[places], minlength=3))
    held = np.bincount(LABELS[drawn.held_out], minlength=3)
    assert tuple(held) == tuple(-(-n // 5) for n in wanted)


@given(seed=st.integers(0, 1000))
def test_a_larger_draw_holds_the_smaller_one(seed: int) -> None:
    small, large = (draw_shots(LABELS, NAMES, shots, seed) for shots in (5, 20))
    assert set(small.train) <= set(large.train) and set(small.held_out) <= set(large.held_out)


def test_another_seed_draws_others() -> None:
    assert set(draw_shots(LABELS, NAMES, 5, 0).train) != set(draw_shots(LABELS, NAMES, 5, 1).train)


@pytest.mark.parametrize(
    ("labels", "shots", "message"),
    [
        (LABELS, 41, "shots 41: no class has as many training galaxies, the largest has 40"),
        (LABELS, 2, "shots 2: at least 3"),
        (LABELS[:54], 10, "class 'c': 2 training galaxies"),
        (np.zeros(9, np.int64), None, "class 'b': 0 training galaxies"),
    ],
)
def test_what_cannot_be_drawn_is_refused(labels: np.ndarray, shots: int | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        draw_shots(labels, NAMES, shots, 0)
