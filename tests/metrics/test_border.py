"""Overfilled frames: what reaches the edge counts, what stays inside does not."""

import numpy as np
import pytest

from galaxysd.errors import InputError
from galaxysd.metrics.border import border, overfilled


def test_only_the_border_counts() -> None:
    images = np.zeros((3, 16, 16, 3), np.uint8)
    images[0, 1:-1, 1:-1] = 255  # bright inside
    images[1] = 41
    images[2] = 40
    assert border(images).tolist() == [0, 41, 40]
    assert overfilled(images).tolist() == [False, True, False]


def test_a_closer_look_fills_the_frame() -> None:
    axis = np.arange(32) - 15.5
    near, far = (
        np.broadcast_to((200 * np.exp(-np.hypot(axis[:, None], axis) / scale))[..., None], (32, 32, 3))
        for scale in (40, 3)
    )
    images = np.stack([near, far]).astype(np.uint8)
    assert overfilled(images).tolist() == [True, False]


def test_other_arrays_are_refused() -> None:
    with pytest.raises(InputError, match="uint8"):
        border(np.zeros((2, 16, 8, 3), np.uint8))
