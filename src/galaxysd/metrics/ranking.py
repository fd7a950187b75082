"""What a search costs and finds: galaxies inspected from the top of a ranked list against true ones found.

In: a rank score and the truth of every galaxy searched. Out: average precision, completeness at equal effort and at
fixed purity, and the galaxies to inspect for a given completeness; pure functions, for `intervals.bootstrap`.
"""

import numpy as np

from galaxysd.types import Flags, Floats


def found_at(scores: Floats, truth: Flags) -> Floats:
    """Expected number of true galaxies among the first n of the list, n = 0..N; equal scores share their order.

    Args:
        scores: [N], larger means earlier.
        truth: [N].
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], truth[order].astype(np.float64)
    _, start, count = np.unique(-ranked, return_index=True, return_counts=True)
    shared = np.repeat(np.add.reduceat(hits, start) / count, count)
    return np.concatenate([[0.0], shared.cumsum()])


def average_precision(scores: Floats, truth: Flags) -> float:
    """Mean over the true galaxies of the purity of the list down to each; ties share the purity at their end.

    Args:
        scores: [N], larger means earlier.
        truth: [N], at least one.
    """
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(truth, scores))


def completeness_at(scores: Floats, truth: Flags, inspected: int) -> float:
    """Share of the true galaxies that lies among the first `inspected`."""
    found = found_at(scores, truth)
    return float(found[min(inspected, len(scores))] / max(found[-1], 1))


def completeness_at_purity(scores: Floats, truth: Flags, purity: float) -> float:
    """Largest share of the true galaxies that a list of at least this purity holds; 0 where none is so pure."""
    found = found_at(scores, truth)
    pure = found[1:] >= purity * np.arange(1, len(found))
    return float(found[1:][pure].max(initial=0.0) / max(found[-1], 1))


def to_inspect(scores: Floats, truth: Flags, completeness: float) -> int:
    """Galaxies to inspect until the expected share of the true ones is reached."""
    found = found_at(scores, truth)
    return int(np.searchsorted(found, completeness * found[-1] - 1e-9))
