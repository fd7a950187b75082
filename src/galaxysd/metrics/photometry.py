"""Light and colour of galaxy images: pixel histograms, total light, colours, level and noise of the sky.

In: uint8 images [N, S, S, 3]. Out: a table with a row per image (compared like the one of morphology.py), and
histograms with the distance between two sets of images.

The planes red, green, blue of an SDSS composite are the bands i, r, g. Its stretch multiplies the three of a pixel by
one factor (Lupton et al. 2004, eq. 2), so ratios of planes are ratios of scaled fluxes, up to saturation: colours come
close to real ones but for a constant, light does not.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from galaxysd.metrics.morphology import as_images, bootstrap_distance, sky
from galaxysd.stats import Estimate
from galaxysd.types import Floats, Pixels

BANDS = ("red", "green", "blue")
PARAMETERS = ("total_light", "g_r", "r_i", "sky_level", "sky_noise")
SCHEMA = dict.fromkeys(PARAMETERS, pl.Float64) | {"measured": pl.Boolean, "reason": pl.String}


def measure_light(images: Pixels) -> pl.DataFrame:
    """Measure every image.

    Args:
        images: uint8 [N, S, S, 3].

    Returns:
        N rows in the order of the images:
        `total_light`, the mean of the planes above the sky, summed over the circle in the frame, 8-bit steps x px;
        `g_r` and `r_i`, -2.5 log10 of blue over green and of green over red inside the circle that holds half of it;
        `sky_level` and `sky_noise`, mean over the planes of the sky's level and deviation, 8-bit steps;
        `measured`, and `reason` where it is false.

    Raises:
        InputError: the images are not of that shape.
    """
    images = as_images(images, least=16)
    side = images.shape[1]
    axis = np.arange(side) - (side - 1) / 2
    radius = np.hypot(axis[:, None], axis).ravel()
    return pl.DataFrame([_row(image, radius) for image in images], schema=SCHEMA)


def _row(image: Pixels, radius: Floats) -> dict[str, Any]:
    skies = [sky(plane) for plane in image.transpose(2, 0, 1).astype(np.float64)]
    level, noise = np.array(skies).T
    empty = dict.fromkeys(SCHEMA) | {"measured": False}
    light = image.reshape(-1, 3) - level
    inside = np.flatnonzero(radius <= len(image) / 2)
    inside = inside[np.argsort(radius[inside], kind="stable")]
    growth = light[inside].mean(axis=1).cumsum()
    if growth[-1] <= 0:
        return empty | {"reason": "no light above the sky"}
    half = radius[inside[np.argmax(growth >= growth[-1] / 2)]]
    red, green, blue = light[radius <= half].sum(axis=0)
    for band, value in zip(BANDS, (red, green, blue), strict=True):
        if value <= 0:
            return empty | {"reason": f"no {band} light above the sky"}
    return {
        "total_light": growth[-1],
        "g_r": -2.5 * np.log10(blue / green),
        "r_i": -2.5 * np.log10(green / red),
        "sky_level": level.mean(),
        "sky_noise": noise.mean(),
        "measured": True,
        "reason": None,
    }


def pixel_histograms(images: Pixels) -> Floats:
    """Share of the pixels at every 8-bit value, per image and plane: float64 [N, 3, 256].

    Raises:
        InputError: the images are not uint8 [N, S, S, 3].
    """
    images = as_images(images)
    offsets = np.arange(3, dtype=np.int64) * 256
    counts = [np.bincount((image + offsets).ravel(), minlength=768).reshape(3, 256) for image in images]
    shares: Floats = np.reshape(counts, (-1, 3, 256)) / images[0, ..., 0].size if counts else np.empty((0, 3, 256))
    return shares


def histogram_distance(
    generated: npt.ArrayLike, real: npt.ArrayLike, *, seed: int, resamples: int = 300
) -> dict[str, Estimate]:
    """1-D Wasserstein distance of all pixels of two sets of images, per band, 8-bit steps, bootstrapped over galaxies.

    Args:
        generated: histograms [M, 3, 256].
        real: histograms [N, 3, 256].
        seed: of the bootstrap.
        resamples: of the bootstrap.

    Raises:
        TooFewGalaxies: a set has fewer than 10.
    """
    pair = [np.asarray(one, dtype=np.float64) for one in (generated, real)]
    return {
        band: bootstrap_distance(_between_means, *(one[:, index] for one in pair), seed=seed, resamples=resamples)
        for index, band in enumerate(BANDS)
    }


def _between_means(generated: Floats, real: Floats) -> float:
    """Area between the cumulative distributions of two sets of histograms [n, 256]."""
    return float(np.abs((generated.mean(axis=0) - real.mean(axis=0)).cumsum()).sum())
