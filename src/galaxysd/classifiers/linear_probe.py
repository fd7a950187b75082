"""A probe: logistic regression on frozen features, the strong simple classifier that every other one has to beat.

In: features [N, D] with classes. Out: calibrated probabilities. Features are brought to zero mean and unit variance,
the strength of the L2 penalty is chosen on held-out galaxies, and so is the temperature (calibration.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import log_softmax, softmax

from galaxysd.classifiers.checkpoint import ClassifierRecord
from galaxysd.classifiers.network import ClassifierNetwork, ProbeNetwork
from galaxysd.classifiers.train import GalaxyClassifier
from galaxysd.encoders.galaxyemb import EncoderNetwork
from galaxysd.metrics import calibration
from galaxysd.types import Features, Floats, Labels

STRENGTHS = tuple(10.0**power for power in (-4, -3, -2, -1, 0, 1))  # C, inverse of the penalty
ITERATIONS = 300


@dataclass(frozen=True)
class Probe:
    """A fitted probe.

    Attributes:
        weights: [D, K].
        bias: [K].
        temperature: what the logits are divided by.
        strength: C that was chosen.
    """

    weights: Floats
    bias: Floats
    temperature: float
    strength: float

    def probabilities(self, features: Features) -> Floats:
        """[N, D] -> [N, K], rows sum to one."""
        found: Floats = softmax((features @ self.weights + self.bias) / self.temperature, axis=1)
        return found


def as_classifier(probe: Probe, encoder: EncoderNetwork, classes: tuple[str, ...], size: int) -> GalaxyClassifier:
    """A probe of features averaged over eight orientations as a classifier of images.

    A linear layer on the mean of features is the mean of the layer, so the two agree but for rounding.

    Args:
        probe: fitted.
        encoder: of its features.
        classes: names of the K classes.
        size: side of the images, px.
    """
    network = ProbeNetwork(encoder, len(classes))
    with torch.no_grad():
        network.head.weight.copy_(torch.from_numpy(probe.weights.T))
        network.head.bias.copy_(torch.from_numpy(probe.bias))
    record = ClassifierRecord(
        target="classes",
        network=ClassifierNetwork(architecture="galaxyemb"),
        outputs=classes,
        size=size,
        temperature=probe.temperature,
        training={"probe": {"strength": probe.strength}},
    )
    return GalaxyClassifier(network.eval(), record)


def fit_probe(
    features: Features,
    labels: Labels,
    held_out: Features,
    held_labels: Labels,
    classes: int,
    *,
    sample_weights: Floats | None = None,
    strengths: Sequence[float] = STRENGTHS,
) -> Probe:
    """Fit a probe for every strength and keep the one under which the held-out classes are most likely.

    Args:
        features: [N, D] to learn from.
        labels: [N], every class among them.
        held_out: [M, D]; without any, the middle strength is taken.
        held_labels: [M].
        classes: K.
        sample_weights: how much each galaxy counts [N].
        strengths: to choose from.
    """
    from sklearn.linear_model import LogisticRegression

    centre, spread = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    spread[spread < 1e-9] = 1.0
    scaled, scaled_held = (features - centre) / spread, (held_out - centre) / spread
    best: tuple[float, Probe] | None = None
    if not len(held_labels):
        strengths = (strengths[len(strengths) // 2],)
    start = None
    for strength in strengths:
        model = LogisticRegression(C=strength, max_iter=ITERATIONS, tol=1e-3, warm_start=True)
        if start is not None:
            model.coef_, model.intercept_ = start
        model.fit(scaled, labels, sample_weight=sample_weights)
        start = (model.coef_, model.intercept_)
        weights, bias = _per_class(model.coef_, model.intercept_, classes)
        logits = scaled_held @ weights + bias
        temperature = calibration.temperature(logits, held_labels)
        cost = log_loss(logits / temperature, held_labels)
        if best is None or cost < best[0]:
            moved = weights / spread[:, None]
            best = cost, Probe(moved, bias - centre @ moved, temperature, strength)
    assert best is not None
    return best[1]


def log_loss(logits: Floats, labels: Labels) -> float:
    """Mean negative log probability of the labels; 0 without any."""
    if not len(labels):
        return 0.0
    return float(-log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean())


def _per_class(coefficients: Floats, intercept: Floats, classes: int) -> tuple[Floats, Floats]:
    """Weights [D, K] and bias [K]; scikit-learn keeps one row for two classes."""
    if classes == 2:
        return np.stack([-coefficients[0] / 2, coefficients[0] / 2], axis=1), np.array(
            [-intercept[0], intercept[0]]
        ) / 2
    return coefficients.T, intercept
