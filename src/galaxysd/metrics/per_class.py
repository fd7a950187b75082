"""Kinds of galaxies: all that have the same clear answer, "edge-on" or "ring", whatever else they are.

In: fractions asked for (generated) or voted (real) [N, A] with the questions known [N, Q], and features [N, D]. Out:
which kinds each galaxy is of [N, A], and the spread of features within kinds against that of real galaxies: a generator
that draws one perfect galaxy per prompt shows here, not in a distance between whole samples.
"""

import numpy as np

from galaxysd.catalog.tree import DecisionTree
from galaxysd.metrics.consistency import CLEAR
from galaxysd.stats import Estimate, TooFewGalaxies, bootstrap
from galaxysd.types import Flags, Floats

LEAST = 20  # galaxies of a kind that is looked at
RESAMPLES = 200


def classes_of(fractions: Floats, known: Flags, tree: DecisionTree) -> Flags:
    """Which answers are clear of each galaxy [N, A]; a galaxy is of as many kinds as questions were clear."""
    flags: Flags = (fractions >= CLEAR) & known[:, tree.question_index]
    return flags


def spreads(features: Floats, kinds: Floats) -> Floats:
    """Root mean square distance of the galaxies of each kind [K] from their mean; NaN for a kind without galaxies.

    Args:
        features: [N, D].
        kinds: [N, K], 1 where a galaxy is of a kind.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        share = kinds / kinds.sum(axis=0)
        means = share.T @ features
        squares = share.T @ np.square(features).sum(axis=1) - np.square(means).sum(axis=1)
    found: Floats = np.sqrt(np.maximum(squares, 0))
    return found


def spread_within(generated: Floats, kinds: Flags, real: Floats, real_kinds: Flags, *, seed: int) -> Estimate:
    """Spread of generated galaxies within kinds over that of real ones, mean over kinds: 1 for equal samples.

    Args:
        generated: features [M, D].
        kinds: of them [M, K].
        real: features [N, D].
        real_kinds: of them [N, K].
        seed: of the bootstrap, which draws generated galaxies anew.

    Raises:
        TooFewGalaxies: no kind has `LEAST` galaxies in both samples.
    """
    enough = (kinds.sum(axis=0) >= LEAST) & (real_kinds.sum(axis=0) >= LEAST)
    if not enough.any():
        raise TooFewGalaxies(f"no kind has the {LEAST} galaxies that are needed in both samples")
    centre = real.mean(axis=0)  # a difference of squares keeps more digits near the origin
    expected = spreads(real - centre, real_kinds[:, enough].astype(np.float64))
    if not expected.all():
        raise TooFewGalaxies("real: a kind holds copies of one galaxy only, which gives no unit of spread")
    width = generated.shape[1]

    def ratio(rows: Floats) -> float:
        return float(np.nanmean(spreads(rows[:, :width], rows[:, width:]) / expected))

    rows = np.concatenate([generated - centre, kinds[:, enough]], axis=1)
    return bootstrap(ratio, rows, seed=seed, resamples=RESAMPLES)


def spread(generated: Floats, real: Floats, *, seed: int) -> Estimate:
    """`spread_within` of two samples of one kind.

    Raises:
        TooFewGalaxies: a sample has fewer than `LEAST` galaxies.
    """
    kinds, real_kinds = (np.ones((len(one), 1), bool) for one in (generated, real))
    return spread_within(generated, kinds, real, real_kinds, seed=seed)
