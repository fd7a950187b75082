"""Framing: central crop, one resize rule, and an exact bridge between levels and floats."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxysd.data.decode import BadImage
from galaxysd.data.framing import Framing
from galaxysd.errors import InputError


def test_crop_is_central_and_exact() -> None:
    pixels = np.arange(20 * 30 * 3, dtype=np.uint32).reshape(20, 30, 3).astype(np.uint8)
    np.testing.assert_array_equal(Framing(crop=8, size=8).apply(pixels), pixels[6:14, 11:19])
    np.testing.assert_array_equal(Framing(size=20).apply(pixels), pixels[:, 5:25])  # largest central square


@given(st.integers(8, 100), st.integers(8, 100), st.integers(8, 64))
@settings(max_examples=30, deadline=None)
def test_any_size_becomes_the_size(height: int, width: int, size: int) -> None:
    framed = Framing(size=size).apply(np.full((height, width, 3), 91, np.uint8))
    assert framed.shape == (size, size, 3)
    assert framed.dtype == np.uint8
    assert (framed == 91).all()


def test_shrinking_does_not_alias() -> None:
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[::2] = 200  # finer than the output can show: must become even grey, not stripes
    framed = Framing(size=32).apply(stripes)
    assert np.abs(framed[4:-4].astype(int) - 100).max() <= 2


def test_too_few_pixels() -> None:
    with pytest.raises(BadImage, match="60 x 40 pixels; the framing needs at least 50 x 50"):
        Framing(crop=50).apply(np.zeros((40, 60, 3), np.uint8))


def test_settings_are_checked() -> None:
    with pytest.raises(InputError, match="size"):
        Framing.parse({"size": 0}, "settings")
    with pytest.raises(InputError, match="zoom"):
        Framing.parse({"zoom": 2}, "settings")
