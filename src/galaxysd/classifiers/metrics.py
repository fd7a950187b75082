"""How good a classifier is, class by class.

In: true labels [N] and probabilities [N, K]. Out: per class and as mean over the classes (macro)

    purity        share of the galaxies called k that are k (precision)
    completeness  share of the galaxies that are k that are called k (recall)
    F1            their harmonic mean
    AP            average precision: mean purity over the ranks of the galaxies that are k, sorted by probability
    ECE           calibration error of the probability of k (calibration.py)

each with a bootstrap interval over galaxies (stats.py). A class without galaxies has no values and is
left out of the means; a class that nothing was called has purity 0, so that silence does not look pure.
"""

from collections.abc import Sequence

import numpy as np
from pydantic import Field, FiniteFloat

from galaxysd.metrics.calibration import reliability
from galaxysd.metrics.ranking import average_precision
from galaxysd.settings import FrozenModel
from galaxysd.stats import LEAST, Estimate, in_own_order, spread
from galaxysd.types import Floats, Ints, Labels

METRICS = ("purity", "completeness", "F1", "AP", "ECE")
BETTER_LOW = ("ECE",)


class Measure(FrozenModel):
    """One metric of one class."""

    value: FiniteFloat
    low: FiniteFloat | None = Field(description=f"end of the 95 % interval; null below {LEAST} galaxies")
    high: FiniteFloat | None = Field(description="other end")


class ClassificationScores(FrozenModel):
    """What was measured on a test set."""

    classes: tuple[str, ...]
    n: tuple[int, ...] = Field(description="galaxies of each class")
    accuracy: Measure
    macro: dict[str, Measure] = Field(description="mean over the classes that have galaxies")
    per_class: dict[str, dict[str, Measure | None]] = Field(description="by class and metric; null without galaxies")
    confusion: tuple[tuple[int, ...], ...] = Field(description="galaxies by true class (rows) and class called")
    seed: int
    resamples: int


def confusion(labels: Labels, called: Labels, classes: int) -> Ints:
    """Galaxies [K, K] by true class (rows) and class called (columns)."""
    from sklearn.metrics import confusion_matrix

    found: Ints = confusion_matrix(labels, called, labels=range(classes))
    return found


def class_metrics(labels: Labels, probabilities: Floats) -> Floats:
    """All metrics of all classes, without intervals.

    Args:
        labels: [N].
        probabilities: [N, K]; the largest one decides.

    Returns:
        [K, 5] in the order of `METRICS`, NaN where a class has no galaxies.
    """
    from sklearn.metrics import precision_recall_fscore_support

    classes = probabilities.shape[1]
    purity, completeness, f1, n = precision_recall_fscore_support(
        labels, probabilities.argmax(axis=1), labels=range(classes), zero_division=0
    )
    found = np.full((classes, len(METRICS)), np.nan)
    for index in np.flatnonzero(n):
        positive = labels == index
        found[index] = (
            purity[index],
            completeness[index],
            f1[index],
            average_precision(probabilities[:, index], positive),
            reliability(probabilities[:, index], positive).error,
        )
    return found


def macro(metrics: Floats) -> Floats:
    """Mean over the classes that have galaxies: [K, 5] -> [5]."""
    return np.asarray(np.nanmean(metrics, axis=0))


def measure(
    labels: Labels, probabilities: Floats, classes: Sequence[str], *, seed: int = 0, resamples: int = 1000
) -> ClassificationScores:
    """Measure everything, with intervals.

    Args:
        labels: [N], N >= 1.
        probabilities: [N, K].
        classes: names of the K classes.
        seed: of the draws.
        resamples: of the bootstrap. A class that is in none of the galaxies of a draw does not count in it.
    """
    count = len(classes)
    rows = in_own_order(np.column_stack([labels.astype(np.float64), probabilities]))

    def statistics(sample: Floats) -> Floats:
        """Accuracy, then macro metrics, then those of each class."""
        own, told = sample[:, 0].astype(np.int64), sample[:, 1:]
        each = class_metrics(own, told)
        return np.concatenate([[(told.argmax(axis=1) == own).mean()], macro(each), each.ravel()])

    rng = np.random.default_rng(seed)
    values = statistics(rows)
    drawn = np.array([statistics(rows[rng.integers(len(rows), size=len(rows))]) for _ in range(resamples)])

    def one(place: int, n: int) -> Measure | None:
        if np.isnan(values[place]):
            return None
        draws = drawn[:, place][~np.isnan(drawn[:, place])]
        if n < LEAST or not len(draws):
            return Measure(value=float(values[place]), low=None, high=None)
        if place and METRICS[(place - 1) % len(METRICS)] == "ECE":
            # Drawing galaxies anew adds scatter in every bin, which only ever adds to a mean distance.
            draws = (draws - draws.mean() + values[place]).clip(min=0)
        found: Estimate = spread(float(values[place]), draws, n)
        return Measure(value=found.value, low=found.low, high=found.high)

    def known(place: int) -> Measure:
        found = one(place, len(rows))
        assert found is not None  # some class has galaxies
        return found

    n = np.bincount(labels, minlength=count)
    first = 1 + len(METRICS)
    per_class = {
        name: {metric: one(first + index * len(METRICS) + place, int(n[index])) for place, metric in enumerate(METRICS)}
        for index, name in enumerate(classes)
    }
    table = confusion(labels, probabilities.argmax(axis=1), count)
    return ClassificationScores(
        classes=tuple(classes),
        n=tuple(n.tolist()),
        accuracy=known(0),
        macro={metric: known(1 + place) for place, metric in enumerate(METRICS)},
        per_class=per_class,
        confusion=tuple(tuple(row) for row in table.tolist()),
        seed=seed,
        resamples=resamples,
    )
