"""Negative controls: samples that a metric must not like, made of real galaxies.

In: images uint8 [N, S, S, 3]. Out: images of the same shape: noise without galaxies, galaxies without grain, one galaxy
again and again, and copies of training galaxies; and labels that belong to other galaxies.
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter

from galaxysd.data.transforms import dihedral
from galaxysd.types import Pixels

BLUR = 2.0  # px
COPY_NOISE = 2.0  # 8-bit steps
BLOCK = 512  # images made at once

ScalarT = TypeVar("ScalarT", bound=np.generic)


def noise(images: Pixels, rng: np.random.Generator) -> Pixels:
    """Gaussian noise with the mean and deviation of all pixels of the images."""
    counts = sum(np.bincount(block.ravel(), minlength=256) for block in _blocks(images))
    steps, share = np.arange(256), counts / images.size
    mean = share @ steps
    deviation = np.sqrt(share @ np.square(steps - mean))
    return np.concatenate([_pixels(rng.normal(mean, deviation, block.shape)) for block in _blocks(images)])


def blurred(images: Pixels, sigma: float = BLUR) -> Pixels:
    """The images blurred by a Gaussian of deviation `sigma` px."""
    width = (0, sigma, sigma, 0)
    return np.concatenate([_pixels(gaussian_filter(block.astype(np.float32), width)) for block in _blocks(images)])


def repeated(images: Pixels, rng: np.random.Generator) -> Pixels:
    """One of the galaxies as often as there are galaxies: a generator that has collapsed."""
    return np.repeat(images[rng.integers(len(images))][None], len(images), axis=0)


def noisy_copies(train: Pixels, count: int, rng: np.random.Generator) -> Pixels:
    """`count` training galaxies, turned at random, with a little noise: what a generator that copies would draw."""
    chosen = torch.from_numpy(train[rng.choice(len(train), count, replace=False)]).permute(0, 3, 1, 2)
    turned = dihedral(chosen, torch.from_numpy(rng.integers(8, size=count))).numpy()
    return np.ascontiguousarray(_pixels(turned + rng.normal(0, COPY_NOISE, turned.shape)).transpose(0, 2, 3, 1))


def shuffled(labels: npt.NDArray[ScalarT], rng: np.random.Generator) -> npt.NDArray[ScalarT]:
    """Labels [N, ...] that belong to other galaxies: what luck reaches where a metric compares with them."""
    return rng.permutation(labels)


def _blocks(images: Pixels) -> list[Pixels]:
    return [images[start : start + BLOCK] for start in range(0, len(images), BLOCK)]


def _pixels(values: npt.NDArray[np.floating]) -> Pixels:
    pixels: Pixels = np.rint(values.clip(0, 255)).astype(np.uint8)
    return pixels
