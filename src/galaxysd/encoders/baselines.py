"""Encoders that have learned nothing: what a learned one must beat.

In: uint8 images [N, S, S, 3]. Out: float32 features [N, D].
"""

import hashlib

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from galaxysd.encoders.galaxyemb import EncoderNetwork, EncoderSettings, GalaxyEncoder, check_images, in_blocks
from galaxysd.nn import ImageScale
from galaxysd.types import Features, Pixels

GRID = 16  # px, side of the shrunken image


class PixelEncoder:
    """The pixels themselves, in [-1, 1], shrunken to 16x16 by averaging."""

    name = "pixels"
    hash = hashlib.sha256(b"mean of pixels, 16x16, in [-1, 1]").hexdigest()[:16]
    dimension = 3 * GRID * GRID

    def features(self, images: Pixels) -> Features:
        """uint8 [N, S, S, 3] -> float32 [N, 768]."""
        check_images(images)
        return in_blocks(_shrink, np.ascontiguousarray(images), self.dimension)


def _shrink(pixels: Tensor) -> Tensor:
    return functional.adaptive_avg_pool2d(pixels.float() / 127.5 - 1, GRID).flatten(1)


def untrained(device: torch.device, *, seed: int = 0, settings: EncoderSettings | None = None) -> GalaxyEncoder:
    """GalaxyEmb's network with random weights: what architecture alone gives.

    Args:
        device: where to compute.
        seed: of the weights.
        settings: shape of the network, by default that of GalaxyEmb.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = EncoderNetwork(settings or EncoderSettings(), ImageScale())
    return GalaxyEncoder(network, "untrained", device)
