"""Precision, recall, density and coverage: is each generated galaxy like real ones, and each real one reached?

In: features [M, D] and [N, D]. Out: an answer per galaxy and the four shares. A sample's manifold is the union of balls
about its galaxies that reach to their k-th nearest neighbour; a galaxy on the rim is inside (Kynkäänniemi et al. 2019,
arXiv 1904.06991; Naeem et al. 2020, arXiv 2002.09797).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from galaxysd.stats import Estimate, as_feature_pair, bootstrap, share
from galaxysd.types import Flags, Floats

NEIGHBOURS = 5  # k
BLOCK = 512  # rows compared at once


@dataclass(frozen=True)
class PRDC:
    """Two samples, each held against the other's manifold, an answer per galaxy.

    Attributes:
        precise: generated galaxies that lie in the ball of a real one [M].
        recalled: real galaxies that lie in the ball of a generated one [N].
        crowd: real balls that each generated galaxy lies in, over k [M].
        covered: real galaxies whose ball holds a generated one [N].
    """

    precise: Flags
    recalled: Flags
    crowd: Floats
    covered: Flags

    @property
    def precision(self) -> Estimate:
        """Share of generated galaxies that are like real ones."""
        return share(self.precise)

    @property
    def recall(self) -> Estimate:
        """Share of real galaxies that are like generated ones."""
        return share(self.recalled)

    @property
    def coverage(self) -> Estimate:
        """Share of real galaxies with a generated one nearby (Naeem et al. 2020)."""
        return share(self.covered)

    def density(self, *, seed: int) -> Estimate:
        """Mean number of real balls about a generated galaxy, over k (Naeem et al. 2020); 1 for equal samples.

        Raises:
            TooFewGalaxies: there are too few for its bootstrap interval.
        """
        return bootstrap(np.mean, self.crowd, seed=seed)


def distance_blocks(rows: Floats, columns: Floats, block: int = BLOCK) -> Iterator[tuple[slice, Floats]]:
    """Euclidean distances of some rows to all columns at a time: a slice of the rows, and distances [B, N].

    By subtraction: equal galaxies are at 0 exactly, and a distance does not depend on its block.
    """
    for start in range(0, len(rows), block):
        part = slice(start, min(start + block, len(rows)))
        yield part, cdist(rows[part], columns)


def distances_to_others(features: Floats, block: int = BLOCK) -> Iterator[tuple[slice, Floats]]:
    """`distance_blocks` within a sample [N, D]; a galaxy is infinitely far from itself."""
    for part, distances in distance_blocks(features, features, block):
        distances[np.arange(len(distances)), np.arange(part.start, part.stop)] = np.inf
        yield part, distances


def radii(features: Floats, k: int = NEIGHBOURS, *, block: int = BLOCK) -> Floats:
    """Distance of each galaxy [N, D] to its k-th nearest other one [N]."""
    found = np.empty(len(features))
    for part, distances in distances_to_others(features, block):
        found[part] = np.partition(distances, k - 1, axis=1)[:, k - 1]
    return found


def prdc(generated: npt.ArrayLike, real: npt.ArrayLike, *, k: int = NEIGHBOURS, block: int = BLOCK) -> PRDC:
    """Hold two samples against each other's manifolds.

    Args:
        generated: features [M, D].
        real: features [N, D].
        k: the neighbour a ball reaches to.
        block: rows compared at once; bounds the memory, not the result.

    Raises:
        InputError: the features are not finite or of different width.
        TooFewGalaxies: a sample has no k-th neighbours.
    """
    ours, theirs = as_feature_pair(generated, real, least=k + 1, why=f"neighbour {k} of each")
    our_radii, their_radii = radii(ours, k, block=block), radii(theirs, k, block=block)
    crowd = np.empty(len(ours))
    covered, recalled = np.zeros(len(theirs), bool), np.zeros(len(theirs), bool)
    for part, distances in distance_blocks(ours, theirs, block):
        inside = distances <= their_radii
        crowd[part] = inside.sum(axis=1) / k
        covered |= inside.any(axis=0)
        recalled |= (distances <= our_radii[part, None]).any(axis=0)
    return PRDC(crowd > 0, recalled, crowd, covered)
