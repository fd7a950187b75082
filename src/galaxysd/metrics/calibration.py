"""Probabilities that mean what they say: temperature scaling, and how far from it they are.

Guo et al. 2017, arXiv 1706.04599: logits are divided by one number that makes held-out galaxies most likely, which
changes no decision. Calibration error per class: Kull et al. 2019, arXiv 1910.12656, section 2.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from galaxysd.types import Floats, Labels

BINS = 10  # of equal width
WIDEST = 3.0  # |log temperature|


def temperature(logits: Floats, labels: Labels) -> float:
    """The temperature under which the labels are most likely.

    A prior, log T ~ N(0, 1), keeps it finite where few galaxies are held out and all are classified rightly; it weighs
    about as much as one galaxy. Without galaxies the temperature is 1.

    Args:
        logits: [N, K].
        labels: [N].
    """

    def cost(log_temperature: float) -> float:
        logs = log_softmax(logits / np.exp(log_temperature), axis=1)
        return float(-logs[np.arange(len(labels)), labels].sum() + log_temperature**2 / 2)

    return float(np.exp(minimize_scalar(cost, bounds=(-WIDEST, WIDEST), method="bounded").x)) if len(labels) else 1.0


@dataclass(frozen=True)
class Reliability:
    """Probabilities against what came true, in bins that hold galaxies.

    Attributes:
        predicted: mean probability in each bin.
        observed: share of galaxies in each bin for which it came true.
        n: galaxies in each bin.
        error: mean distance of the two, weighted by n.
    """

    predicted: Floats
    observed: Floats
    n: Labels
    error: float


def reliability(probabilities: Floats, happened: npt.ArrayLike, *, bins: int = BINS) -> Reliability:
    """How reliable the probabilities of something are.

    Args:
        probabilities: [N], N >= 1.
        happened: whether it came true, or how often, from 0 to 1 [N].
        bins: of equal width.
    """
    place = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    n = np.bincount(place, minlength=bins)
    predicted = np.bincount(place, weights=probabilities, minlength=bins)
    observed = np.bincount(place, weights=np.asarray(happened, np.float64), minlength=bins)
    held = n > 0
    error = float(np.abs(predicted - observed).sum() / max(n.sum(), 1))
    return Reliability(predicted[held] / n[held], observed[held] / n[held], n[held].astype(np.int64), error)
