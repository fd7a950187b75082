"""Parts of the real galaxies."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from galaxysd.evaluation.reference import evenly


@given(length=st.integers(1, 300), count=st.integers(1, 300))
def test_a_part_comes_evenly_from_the_whole_sample(length: int, count: int) -> None:
    images = np.arange(length).reshape(-1, 1)
    chosen = evenly(images, count).ravel()
    assert len(np.unique(chosen)) == len(chosen) == min(count, length)
    steps = np.diff(chosen)
    assert len(steps) == 0 or steps.max() - steps.min() <= 1
    assert chosen[0] == 0 and (count == 1 or chosen[-1] == length - 1)
