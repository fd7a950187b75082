"""Vendi score: how many really different galaxies a sample holds.

In: features [N, D]. Out: the effective number of galaxies, from 1 (all alike) to N (Friedman and Dieng 2023, arXiv
2210.02410). It grows with N: compare equal numbers only.
"""

import numpy as np
import numpy.typing as npt

from galaxysd.errors import InputError
from galaxysd.stats import Estimate, as_features, over_subsets


def vendi_score(features: npt.ArrayLike) -> float:
    """exp(-sum_i l_i log l_i), with l_i the eigenvalues of K / N, K_ij the cosine of features i and j.

    X X^T and X^T X have the same eigenvalues but for zeros, so the smaller of both is taken.

    Raises:
        InputError: a galaxy's features are not finite or all 0, so that it has no direction.
        TooFewGalaxies: there are none.
    """
    sample = as_features(features, "features")
    norms = np.linalg.norm(sample, axis=1, keepdims=True)
    if not norms.all():
        raise InputError(f"features: row {int(norms[:, 0].argmin())} is all 0, so it has no direction to compare")
    unit = sample / norms
    n, width = unit.shape
    similar = unit.T @ unit if width < n else unit @ unit.T
    values = np.linalg.eigvalsh(similar / n)
    positive = values[values > 0]
    return float(np.exp(-(positive * np.log(positive)).sum()))


def vendi(features: npt.ArrayLike, *, seed: int, size: int | None = None, repeats: int = 20) -> Estimate:
    """Vendi score over random subsets.

    Args:
        features: [N, D].
        seed: of the subsets.
        size: galaxies in a subset, to be equal in what is compared; None: half of all.
        repeats: number of subsets.

    Returns:
        Mean and interval; `n` is the size of the subsets.

    Raises:
        InputError: a galaxy's features are not finite or all 0.
        TooFewGalaxies: there are not enough for two subsets.
    """
    sample = as_features(features, "features", least=4 if size is None else 2 * size, why="two subsets")
    return over_subsets(vendi_score, sample, seed=seed, size=size, repeats=repeats)
