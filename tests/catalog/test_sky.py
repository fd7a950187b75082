"""sky.py: angles on the sphere, near the poles and across ra = 0 too."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from galaxysd.catalog.sky import directions, nearest_within

POSITIONS = st.tuples(st.floats(0, 359.999), st.floats(-89.99, 89.99))


@given(POSITIONS, st.floats(0.05, 20), st.sampled_from((-1, 1)))
def test_what_is_near_enough_is_found_and_nothing_else(place: tuple[float, float], apart: float, sign: int) -> None:
    ra, dec = place
    moved = np.clip(dec + sign * apart / 3600, -90, 90)
    _, near = nearest_within(directions([ra], [dec]), directions([ra], [moved]), abs(moved - dec) * 3600 * 1.001)
    _, far = nearest_within(directions([ra], [dec]), directions([ra], [moved]), abs(moved - dec) * 3600 * 0.999)
    assert near.tolist() == [True] and far.tolist() == [False]


def test_the_nearest_of_several_is_meant_also_across_ra_zero() -> None:
    theirs = directions([10.0, 0.0002, 359.9990], [0.0, 0.0, 0.0])
    index, found = nearest_within(directions([359.9999, 200.0], [0.0, 0.0]), theirs, 2.0)
    assert index[0] == 1 and found.tolist() == [True, False]
