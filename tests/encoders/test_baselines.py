"""Encoders that learned nothing."""

import numpy as np
import pytest
import torch

from galaxysd.encoders.galaxyemb import EncoderSettings
from galaxysd.encoders.registry import PixelEncoder, untrained
from galaxysd.errors import InputError

TINY = EncoderSettings(patch=4, widths=(16, 16), blocks=1)


def test_pixels_are_means_of_squares() -> None:
    images = np.zeros((2, 32, 32, 3), np.uint8)
    images[0, :2, :2] = 255
    images[1] = 255
    found = PixelEncoder().features(images)
    assert found.shape == (2, PixelEncoder.dimension) == (2, 768)
    planes = found.reshape(2, 3, 16, 16)
    assert planes[0, :, 0, 0] == pytest.approx([1, 1, 1]) and float(planes[0].sum()) == pytest.approx(3 - 3 * 255)
    assert np.allclose(planes[1], 1)
    assert PixelEncoder().features(np.zeros((1, 16, 16, 3), np.uint8)).shape == (1, 768)


def test_pixels_of_something_else_are_refused() -> None:
    with pytest.raises(InputError, match="uint8"):
        PixelEncoder().features(np.zeros((1, 16, 16, 3)))


def test_random_weights_follow_their_seed_and_leave_the_global_generator_alone() -> None:
    cpu = torch.device("cpu")
    state = torch.get_rng_state()
    first = untrained(cpu, settings=TINY)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.hash == untrained(cpu, settings=TINY).hash != untrained(cpu, seed=1, settings=TINY).hash
