"""The ranker of a search: logistic regressions on the features of an encoder, an ensemble of them.

In: groups of generated and of real galaxies (training_set.py), an encoder. Out: `TargetRanker`, which turns images into
the probability of the target and its spread.

With few examples a linear layer on features that were learned from all galaxies finds more than a network of its own
does, and a galaxy is looked at once for all members (docs/decisions.md has the comparison on seven kinds).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from pydantic import Field

from galaxysd.classifiers.linear_probe import Probe, fit_probe
from galaxysd.encoders.galaxyemb import Encoder
from galaxysd.search.domain_leak import jpeg_roundtrip
from galaxysd.search.training_set import BACKGROUND, UNLABELLED, Group
from galaxysd.settings import Settings
from galaxysd.types import Features, Floats, Pixels

SURE = 3.0  # standard errors from which a difference of means is a style and not luck


class RankerSettings(Settings):
    """What counts how much."""

    strength: float = Field(default=0.01, gt=0, description="C, the inverse of the L2 penalty, on scaled features")
    real: float = Field(
        default=10.0, gt=0, description="real examples that count as much as all generated galaxies beside them"
    )
    near: float = Field(default=0.3, gt=0, lt=1, description="share of the hard negatives in what is not the target")


@dataclass(frozen=True)
class TargetRanker:
    """Scores images; it can be sent to other processes.

    Attributes:
        encoder: whose features are looked at.
        members: logistic regressions of "other" and "target".
        shift: what is added to the features of generated galaxies [D], see `domain_shift`.
    """

    encoder: Encoder
    members: tuple[Probe, ...]
    shift: Features

    def __call__(self, images: Pixels, *, generated: bool = False) -> tuple[Floats, Floats]:
        """uint8 [B, S, S, 3] -> probability of the target, mean over the members [B], and its deviation [B]."""
        features = features_of(self.encoder, images)
        if generated:
            features = features + self.shift
        each = np.stack([member.probabilities(features)[:, 1] for member in self.members])
        return each.mean(axis=0), each.std(axis=0)

    def without(self, member: int) -> "TargetRanker":
        """The judgement of the others."""
        return replace(self, members=self.members[:member] + self.members[member + 1 :])


def features_of(encoder: Encoder, images: Pixels) -> Features:
    """Features [N, D] of images as a ranker sees them, equalised; uint8 [N, S, S, 3]."""
    return encoder.features(jpeg_roundtrip(images))


def train_ranker(
    encoder: Encoder, learned: Sequence[Group], held: Sequence[Group], settings: RankerSettings, *, members: int
) -> TargetRanker:
    """Fit the ensemble.

    Args:
        encoder: of the features.
        learned: examples of both classes.
        held: others, on which the probabilities are calibrated.
        settings: what counts how much.
        members: of the ensemble.
    """
    seen, held_seen = ([features_of(encoder, group.galaxies.images) for group in groups] for groups in (learned, held))
    shift = domain_shift(learned, seen)
    seen, held_seen = shift_features(learned, seen, shift), shift_features(held, held_seen, shift)
    return TargetRanker(encoder, fit_members(learned, seen, held, held_seen, settings, members=members), shift)


def domain_shift(groups: Sequence[Group], seen: Sequence[Features]) -> Features:
    """What the survey has and its generated galaxies lack: mean features of its galaxies less those of generated
    galaxies of the same mix [D].

    Added to the features of all generated galaxies it takes the style of the generator from what a ranker can learn.
    Only those principal directions count in which the two means differ by more than `SURE` standard errors: the rest is
    the luck of the draw, and a ranker would learn it. Without unlabelled galaxies or such generated galaxies the gap is
    zero.
    """
    found = {group.kind: features for group, features in zip(groups, seen, strict=True) if len(group)}
    if not {UNLABELLED, BACKGROUND} <= set(found):
        return np.zeros(seen[0].shape[1])
    real, mix = found[UNLABELLED], found[BACKGROUND]
    centred = np.concatenate([real - real.mean(axis=0), mix - mix.mean(axis=0)])
    directions = np.linalg.eigh(centred.T @ centred)[1]
    gap = (real.mean(axis=0) - mix.mean(axis=0)) @ directions
    variance = sum((features @ directions).var(axis=0) / len(features) for features in (real, mix))
    sure: Features = directions @ np.where(np.abs(gap) > SURE * np.sqrt(variance), gap, 0.0)
    return sure


def shift_features(groups: Sequence[Group], seen: Sequence[Features], shift: Features) -> list[Features]:
    """Features of each group, those of generated galaxies moved by the style."""
    return [features + shift if group.synthetic else features for group, features in zip(groups, seen, strict=True)]


def fit_members(
    learned: Sequence[Group],
    seen: Sequence[Features],
    held: Sequence[Group],
    held_seen: Sequence[Features],
    settings: RankerSettings,
    *,
    members: int,
) -> tuple[Probe, ...]:
    """The same from features [N, D] of each group; each member is given its own part of the unlabelled galaxies."""
    dimension = seen[0].shape[1]
    probes = []
    for member in range(members):
        own = [group.indices(member, members) for group in learned]
        counts = [len(rows) for rows in own]
        probes.append(
            fit_probe(
                np.concatenate([features[rows] for features, rows in zip(seen, own, strict=True)]),
                _labels(learned, counts),
                np.concatenate([*held_seen, np.empty((0, dimension))]),
                _labels(held, [len(group) for group in held]),
                classes=2,
                sample_weights=np.repeat(group_weights(learned, counts, settings), counts),
                strengths=(settings.strength,),
            )
        )
    return tuple(probes)


def group_weights(groups: Sequence[Group], counts: Sequence[int], settings: RankerSettings) -> Floats:
    """How much a galaxy of each group counts [L]; the mean over all galaxies is 1, and both classes weigh alike.

    Of the target, k real galaxies weigh k / (k + `real`) and its generated galaxies the rest. Of the others, hard
    negatives weigh `near` (real ones among them are candidates that were refused, shared out in the same way) and
    unlabelled galaxies the rest. Where one of two kinds is absent the other has all.

    Args:
        groups: of both classes.
        counts: galaxies of each group that are learned from.
        settings: what counts how much.
    """
    roles = [_role(group) for group in groups]
    n = Counter[str]()
    for role, count in zip(roles, counts, strict=True):
        n[role] += count
    near = n["refused"] + n["hard negatives"]
    share_near = (settings.near if n[UNLABELLED] else 1.0) if near else 0.0
    known, refused = (
        real / (real + (settings.real if generated else 0.0)) if real else 0.0
        for real, generated in ((n["known"], n["generated"]), (n["refused"], n["hard negatives"]))
    )
    mass = {
        "known": known,
        "generated": 1 - known,
        "refused": share_near * refused,
        "hard negatives": share_near * (1 - refused),
        UNLABELLED: 1 - share_near,
    }
    return np.array([mass[role] / max(n[role], 1) * n.total() / 2 for role in roles])


def _role(group: Group) -> str:
    if group.label == 1:
        return "generated" if group.synthetic else "known"
    if group.kind == UNLABELLED:
        return UNLABELLED
    return "hard negatives" if group.synthetic else "refused"


def _labels(groups: Sequence[Group], counts: Sequence[int]) -> npt.NDArray[np.int64]:
    return np.repeat(np.array([group.label for group in groups], np.int64), counts)
