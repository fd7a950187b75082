"""Sharpness: how much a picture changes from pixel to pixel, and how fine arms and dust are drawn.

In: uint8 images [N, S, S, 3]. Out: the energy of the Laplacian of each, and its ratio to that of real galaxies. Blur
lowers it, grain raises it, so it is read beside the power spectrum, which says on which scale something lacks.
"""

from galaxysd.metrics.morphology import as_images, luminance
from galaxysd.stats import Estimate, bootstrap
from galaxysd.types import Floats, Pixels


def laplacian_energy(images: Pixels) -> Floats:
    """Variance over the inner pixels of the five-point Laplacian of the luminance, squared 8-bit steps [N].

    Raises:
        InputError: the images are not uint8 [N, S, S, 3].
    """
    plane = luminance(as_images(images, least=3))
    middle = plane[:, 1:-1, 1:-1]
    sides = plane[:, :-2, 1:-1] + plane[:, 2:, 1:-1] + plane[:, 1:-1, :-2] + plane[:, 1:-1, 2:]
    energy: Floats = (sides - 4 * middle).var(axis=(1, 2))
    return energy


def ratio_of_means(generated: Floats, real: Floats, *, seed: int, resamples: int = 1000) -> Estimate:
    """Mean of some values over the mean of others, both resampled.

    Raises:
        TooFewGalaxies: there are fewer than 10 of one.
    """
    return bootstrap(lambda one, other: one.mean() / other.mean(), generated, real, seed=seed, resamples=resamples)
