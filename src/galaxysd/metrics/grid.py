"""Grid peaks: does an image carry a regular pattern of 2, 4 or 8 pixels, as strided or shuffled layers and JPEG leave?

In: uint8 images [N, S, S, 3]. Out: power at the frequencies of such a pattern over the power beside them: about 1 where
there is none (Odena et al. 2016, "Deconvolution and checkerboard artifacts", say where they come from).
"""

import numpy as np

from galaxysd.errors import InputError
from galaxysd.metrics.morphology import as_images, luminance
from galaxysd.metrics.power_spectrum import ROUNDING
from galaxysd.stats import Estimate, bootstrap
from galaxysd.types import Floats, Pixels

PERIODS = (2, 4, 8)  # px
BESIDE = 3  # neighbours are so many frequency bins away at most, and more than one


def grid_peaks(images: Pixels, period: int, *, seed: int, resamples: int = 200) -> Estimate:
    """Largest ratio, over the frequencies of a pattern of `period` px, of power to the mean beside it.

    Frequencies that a pattern of half the period has as well are left to that one. Power is that of a Hann-windowed
    periodogram of the luminance; it is divided by the mean beside it image by image, so that no bright star decides.

    Args:
        images: uint8 [N, S, S, 3], S a multiple of `period` of at least four times its length.
        period: px.
        seed: of the bootstrap over images.
        resamples: of the bootstrap.

    Raises:
        InputError: the images are not of that shape.
        TooFewGalaxies: there are fewer than 10.
    """
    images = as_images(images, least=4 * period)
    side = images.shape[1]
    if side % period:
        raise InputError(f"images: {side} px are no multiple of the period of {period} px")
    at, beside = _places(side, period)
    ratios = np.stack([_ratios(image, at, beside) for image in images])
    return bootstrap(lambda one: float(one.mean(axis=0).max()), ratios, seed=seed, resamples=resamples)


def _places(side: int, period: int) -> tuple[list[int], list[list[int]]]:
    """Flat index of each frequency of the pattern, and of its neighbours."""
    step, lattice = side // period, range(0, side, side // period)
    at, beside = [], []
    for row in lattice:
        for column in lattice:
            if (row, column) == (0, 0) or (row % (2 * step) == 0 and column % (2 * step) == 0 and period > 2):
                continue
            around = [
                ((row + dy) % side) * side + (column + dx) % side
                for dy in range(-BESIDE, BESIDE + 1)
                for dx in range(-BESIDE, BESIDE + 1)
                if max(abs(dy), abs(dx)) > 1
            ]
            at.append(row * side + column)
            beside.append(around)
    return at, beside


def _ratios(image: Pixels, at: list[int], beside: list[list[int]]) -> Floats:
    """Power at each place over the mean of its neighbours [P]."""
    side = len(image)
    line = np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2
    window = np.outer(line, line)
    plane = luminance(image)
    plane = plane - (plane * window).sum() / window.sum()
    power = (np.abs(np.fft.fft2(plane * window)) ** 2 / np.square(window).sum()).ravel() + ROUNDING
    found: Floats = power[at] / power[np.array(beside)].mean(axis=1)
    return found
