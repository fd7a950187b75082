"""Fréchet distance of two samples of features: how far apart are the Gaussians fitted to them?

In: features [N, D], a row per galaxy. Out: the distance (Dowson and Landau 1982; Heusel et al.
2017, arXiv 1706.08500). Comparable only for the same extractor and equal N: it is biased upwards for few galaxies.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from galaxysd.stats import Estimate, TooFewGalaxies, as_feature_pair, as_features, over_subsets
from galaxysd.types import Floats


@dataclass(frozen=True)
class Moments:
    """Mean and scatter of features.

    Attributes:
        n: galaxies seen.
        mean: of the features [D].
        scatter: sum of (x - mean)(x - mean)^T [D, D].
    """

    n: int
    mean: Floats
    scatter: Floats

    @classmethod
    def of(cls, features: npt.ArrayLike, name: str = "features") -> Self:
        """Moments of one block [N, D].

        Raises:
            InputError: the block is empty, not of that shape or not finite.
        """
        block = as_features(features, name)
        mean = block.mean(axis=0)
        centred = block - mean
        return cls(len(block), mean, centred.T @ centred)

    @property
    def covariance(self) -> Floats:
        """Unbiased covariance [D, D].

        Raises:
            TooFewGalaxies: there is only one.
        """
        if self.n < 2:
            raise TooFewGalaxies("features: 1 galaxy, at least 2 are needed (covariance)")
        return self.scatter / (self.n - 1)


def frechet_from_moments(a: Moments, b: Moments) -> float:
    """|mean_a - mean_b|^2 + tr(A) + tr(B) - 2 tr((A B)^1/2), with A and B the covariances.

    The last trace is the sum of the roots of the eigenvalues of A^1/2 B A^1/2, which is symmetric, so two symmetric
    eigenvalue problems do and no matrix root is needed (Dowson and Landau 1982).

    Raises:
        TooFewGalaxies: one of them has seen fewer than two.
    """
    first, second = a.covariance, b.covariance
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ second @ root).clip(min=0)).sum()
    apart = np.square(a.mean - b.mean).sum()
    return max(0.0, float(apart + np.trace(first) + np.trace(second) - 2 * shared))


def frechet_distance(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Fréchet distance of two Gaussians fitted to features a [N, D] and b [M, D].

    Raises:
        InputError: the features are not finite or of different width.
        TooFewGalaxies: there are fewer than two of one.
    """
    first, second = as_feature_pair(a, b, least=2, why="covariance")
    return frechet_from_moments(Moments.of(first), Moments.of(second))


def frechet(generated: npt.ArrayLike, real: npt.ArrayLike, *, seed: int, repeats: int = 20) -> Estimate:
    """Fréchet distance over random subsets of equal size: half of the smaller sample.

    Args:
        generated: features [M, D].
        real: features [N, D].
        seed: of the subsets.
        repeats: number of subsets.

    Returns:
        Mean and interval; `n` is the size of the subsets, which the distance depends on.

    Raises:
        InputError: the features are not finite or of different width.
        TooFewGalaxies: a subset would not exceed D, so that its covariance had no full rank.
    """
    width = as_features(real, "real").shape[1]
    least = 2 * (width + 1)
    first, second = as_feature_pair(generated, real, least=least, why=f"two subsets of more than {width} features")
    return over_subsets(frechet_distance, first, second, seed=seed, repeats=repeats)
