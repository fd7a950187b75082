"""Classifier two-sample test: can a linear classifier tell generated galaxies from real ones?

In: features [M, D] and [N, D]. Out: the area under its ROC curve on galaxies it has not learned from (Lopez-Paz and
Oquab 2017, arXiv 1610.06545): 0.5 for equal distributions, 1 where it can always tell.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from galaxysd.stats import LEAST, Estimate, as_feature_pair, in_own_order, spread
from galaxysd.types import Flags, Floats

STRENGTH = 0.1  # inverse of the L2 penalty, on features of unit deviation


def area(negative: Floats, positive: Floats) -> float:
    """Probability that a positive scores above a negative, ties counting half: the area under the ROC curve."""
    from sklearn.metrics import roc_auc_score

    labels = np.repeat([0, 1], [len(negative), len(positive)])
    return float(roc_auc_score(labels, np.concatenate([negative, positive])))


def c2st(
    generated: npt.ArrayLike,
    real: npt.ArrayLike,
    *,
    seed: int,
    folds: int = 5,
    resamples: int = 1000,
) -> Estimate:
    """Cross-validated logistic regression between two samples.

    The interval resamples the galaxies of each fold and sample, and is widened because other galaxies would also have
    trained other classifiers: the variance of a mean over K folds is larger by 1 + K / (K - 1) (Nadeau and Bengio
    2003). No galaxy may be in both samples: its twin would be learned under the wrong name.

    Args:
        generated: features [M, D].
        real: features [N, D].
        seed: of folds and resamples.
        folds: of the cross-validation.
        resamples: of the bootstrap.

    Returns:
        Mean of the areas over the folds; `n` galaxies in the smaller sample.

    Raises:
        InputError: the features are not finite or of different width.
        TooFewGalaxies: a sample has fewer than `LEAST` galaxies a fold.
    """
    least = LEAST * folds
    ours, theirs = as_feature_pair(generated, real, least=least, why=f"{LEAST} in each of {folds} folds")
    features = np.concatenate([in_own_order(ours), in_own_order(theirs)])
    labels = np.arange(len(features)) < len(ours)
    rng = np.random.default_rng(seed)
    scored = _cross_validate(features, labels, folds, seed)
    value = float(np.mean([area(*pair) for pair in scored]))
    drawn = [
        np.mean([area(*(one[rng.integers(len(one), size=len(one))] for one in pair)) for pair in scored])
        for _ in range(resamples)
    ]
    return _widened(spread(value, drawn, min(len(ours), len(theirs))), np.sqrt(1 + folds / (folds - 1)))


def _widened(auc: Estimate, factor: float) -> Estimate:
    low, high = (auc.value + factor * (end - auc.value) for end in (auc.low, auc.high))
    return Estimate(value=auc.value, low=max(0.0, low), high=min(1.0, high), n=auc.n)


def _cross_validate(features: Floats, labels: Flags, folds: int, seed: int) -> list[tuple[Floats, Floats]]:
    """Per fold, scores of its real and its generated galaxies by a classifier that has not seen them."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    found = []
    for learned, held in StratifiedKFold(folds, shuffle=True, random_state=seed).split(features, labels):
        model: Any = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=2000))
        model.fit(features[learned], labels[learned])
        scores = model.decision_function(features[held])
        found.append((scores[~labels[held]], scores[labels[held]]))
    return found
