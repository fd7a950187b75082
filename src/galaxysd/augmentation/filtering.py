"""Which synthetic galaxies are refused: copies of training galaxies, and those in which nobody sees their class.

In: synthetic galaxies, the galaxies that the generator has learned from, and probes trained on the real shots. Out:
flags. A copy is nearer to a training galaxy, in any of eight orientations, than 99 % of held-out galaxies are
(metrics/memorization.py). A generated galaxy is doubted if an ensemble of probes, each trained on another bootstrap
sample of the real shots, gives its class less than half of chance; of each class at most half, the most doubtful, for
probes that know a class from a few galaxies are poor judges of it, and synthetic galaxies are wanted there most.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from galaxysd.classifiers.linear_probe import Probe, fit_probe
from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.metrics.memorization import NEAR, alarm, nearest
from galaxysd.types import Features, Flags, Labels

MEMBERS = 5  # probes of the ensemble
DOUBT = 0.5  # of chance: probes that know nothing refuse nothing
BLOCK = 2048  # synthetic galaxies compared with the training galaxies at once


@dataclass(frozen=True)
class NearCopies:
    """What the memory test says of synthetic galaxies.

    Attributes:
        copied: refused as copies [N].
        threshold: root mean square difference below which a generated galaxy is refused, 8-bit steps.
        share: of the synthetic galaxies below it; held-out galaxies have 1 %.
        alarm: whether that is more than chance allows.
    """

    copied: Flags
    threshold: float
    share: float
    alarm: bool


def near_copies(synthetic: GalaxySet, learned: GalaxySet, held_out: GalaxySet) -> NearCopies:
    """Find the synthetic galaxies that are too near to a galaxy the generator has learned from.

    Args:
        synthetic galaxies: to judge.
        learned: galaxies of the generator's training.
        held_out: real galaxies it has not learned from, for comparison.
    """
    seen = learned.planes()
    blocks = [synthetic.planes(np.arange(len(synthetic))[at : at + BLOCK]) for at in range(0, len(synthetic), BLOCK)]
    distance = np.concatenate([nearest(block, seen).distance for block in blocks])
    real = nearest(held_out.planes(), seen).distance
    threshold = float(np.quantile(real, NEAR))
    share, rings = alarm(distance, real)
    return NearCopies(distance < threshold, threshold, share, rings)


def label_mismatch(
    synthetic: Features, asked: Labels, real: Features, labels: Labels, classes: int, *, seed: int
) -> Flags:
    """Synthetic galaxies whose class an ensemble of probes does not see.

    Args:
        synthetic galaxies: features [N, D].
        asked: class each generated galaxy was asked for [N].
        real: features of the real shots [M, D].
        labels: their classes [M].
        classes: K.
        seed: of the bootstrap samples.

    Returns:
        [N], true where the mean probability of the class is below 1 / 2K and below the median of its synthetic
        galaxies.
    """
    mean = np.zeros(len(synthetic))
    for probe, _ in bootstrap_probes(real, labels, classes, seed=seed):
        mean += probe.probabilities(synthetic)[np.arange(len(synthetic)), asked] / MEMBERS
    middle = np.array([np.median(mean[asked == k]) if (asked == k).any() else 0.0 for k in range(classes)])
    refused: Flags = mean < np.minimum(DOUBT / classes, middle[asked])
    return refused


def bootstrap_probes(real: Features, labels: Labels, classes: int, *, seed: int) -> Iterator[tuple[Probe, Labels]]:
    """Probes of bootstrap samples within the classes, each with the places of the shots that it has not seen."""
    rng = np.random.default_rng(seed)
    for _ in range(MEMBERS):
        drawn = np.concatenate(
            [rng.choice(members := np.flatnonzero(labels == k), len(members)) for k in range(classes)]
        )
        left = np.setdiff1d(np.arange(len(labels)), drawn)
        yield fit_probe(real[drawn], labels[drawn], real[left], labels[left], classes), left
