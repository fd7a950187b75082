"""Frames overfilled: does the galaxy run over the edge of its picture?

In: uint8 images [N, S, S, 3]. Out: mean brightness of the border of each, and which are overfilled.
"""

import numpy as np

from galaxysd.metrics.morphology import as_images, luminance
from galaxysd.types import Flags, Floats, Pixels

WIDTH = 1  # px
BRIGHT = 40.0  # 8-bit steps


def border(images: Pixels) -> Floats:
    """Mean luminance of the outermost pixels, 8-bit steps [N].

    Raises:
        InputError: the images are not uint8 [N, S, S, 3].
    """
    plane = luminance(as_images(images, least=2 * WIDTH + 1))
    inside = np.zeros(plane.shape[1:], bool)
    inside[WIDTH:-WIDTH, WIDTH:-WIDTH] = True
    found: Floats = plane[:, ~inside].mean(axis=1)
    return found


def overfilled(images: Pixels) -> Flags:
    """Pictures whose border is brighter than `BRIGHT` [N]."""
    found: Flags = border(images) > BRIGHT
    return found
