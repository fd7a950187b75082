"""Kernel distance of two samples of features (KID): an unbiased distance that few galaxies suffice for.

In: features [M, D] and [N, D]. Out: the squared maximum mean discrepancy with the cubic kernel (x.y / D + 1)^3
(Binkowski et al. 2018, arXiv 1801.01401): 0 on average for equal distributions, so it may come out below 0.
"""

import numpy as np
import numpy.typing as npt

from galaxysd.stats import Estimate, as_feature_pair, over_subsets
from galaxysd.types import Floats

LARGEST = 1000  # galaxies in a subset, as in the paper


def squared_mmd(generated: npt.ArrayLike, real: npt.ArrayLike, *, block: int = 1024) -> float:
    """Unbiased squared maximum mean discrepancy (Gretton et al. 2012, eq. 3) with k(x, y) = (x.y / D + 1)^3.

    MMD^2 = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)

    Args:
        generated: features [M, D].
        real: features [N, D].
        block: rows compared at once; bounds the memory, not the result.

    Raises:
        InputError: the features are not finite or of different width.
        TooFewGalaxies: there are fewer than two of one.
    """
    first, second = as_feature_pair(generated, real, least=2, why="pairs")
    within = sum(
        (_kernel_sum(one, one, block) - float(_kernel(np.square(one).mean(axis=1)).sum())) / (len(one) * (len(one) - 1))
        for one in (first, second)
    )
    return within - 2 * _kernel_sum(first, second, block) / (len(first) * len(second))


def _kernel(products: Floats) -> Floats:
    """Cubic kernel of x.y / D."""
    cubed: Floats = (products + 1) ** 3
    return cubed


def _kernel_sum(first: Floats, second: Floats, block: int) -> float:
    width = first.shape[1]
    starts = [(row, column) for row in range(0, len(first), block) for column in range(0, len(second), block)]
    return float(
        sum(
            _kernel(first[row : row + block] @ second[column : column + block].T / width).sum()
            for row, column in starts
        )
    )


def kid(
    generated: npt.ArrayLike, real: npt.ArrayLike, *, seed: int, size: int | None = None, repeats: int = 100
) -> Estimate:
    """Kernel distance over random subsets.

    Args:
        generated: features [M, D].
        real: features [N, D].
        seed: of the subsets.
        size: galaxies in a subset; None: half of the smaller sample, at most `LARGEST`.
        repeats: number of subsets.

    Returns:
        Mean and interval; `n` is the size of the subsets.

    Raises:
        InputError: the features are not finite or of different width.
        TooFewGalaxies: there are not enough for two subsets.
    """
    first, second = as_feature_pair(generated, real, least=4 if size is None else 2 * size, why="two subsets")
    chosen = min(len(first) // 2, len(second) // 2, LARGEST) if size is None else size
    return over_subsets(squared_mmd, first, second, seed=seed, size=chosen, repeats=repeats)
