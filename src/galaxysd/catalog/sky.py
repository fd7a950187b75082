"""Positions on the sky: directions as unit vectors, and the nearest neighbour within so many arcseconds.

In: right ascension and declination, deg (ICRS). Chords stand for angles, so that a k-d tree can search the sphere.
"""

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from galaxysd.types import Floats


def directions(ra: npt.ArrayLike, dec: npt.ArrayLike) -> Floats:
    """Unit vectors [N, 3] of positions [N], deg."""
    alpha, delta = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    return np.stack([np.cos(delta) * np.cos(alpha), np.cos(delta) * np.sin(alpha), np.sin(delta)], axis=1)


def chord(arcsec: float) -> float:
    """Length of the chord between two directions that far apart."""
    return 2 * float(np.sin(np.radians(arcsec / 3600) / 2))


def nearest_within(ours: Floats, theirs: Floats, arcsec: float) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """The nearest of `theirs` to each of `ours`, where one is near enough.

    Args:
        ours, theirs: `directions` [N, 3] and [M, 3].
        arcsec: how far apart two positions of one galaxy may be.

    Returns:
        Index [N] into `theirs` (M where there is none), and whether there is one [N].
    """
    distance, index = cKDTree(theirs).query(ours, distance_upper_bound=chord(arcsec))
    return index, np.isfinite(distance)
