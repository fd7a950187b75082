"""The judge of a search: logistic regressions on the features of an encoder, an ensemble of them.

In: lots of dreamed and of real galaxies (training_set.py), an encoder. Out: `TargetJudge`, which turns images into the
probability of the target and its spread.

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
from galaxysd.search.domain_leak import equalise
from galaxysd.search.training_set import MIX, UNLABELLED, Lot, places
from galaxysd.settings import Settings
from galaxysd.types import Features, Floats, Pixels

SURE = 3.0  # standard errors from which a difference of means is a style and not luck


class JudgeSettings(Settings):
    """What counts how much."""

    strength: float = Field(default=0.01, gt=0, description="C, the inverse of the L2 penalty, on scaled features")
    real: float = Field(default=10.0, gt=0, description="real examples that count as much as all dreams beside them")
    near: float = Field(default=0.3, gt=0, lt=1, description="share of the near misses in what is not the target")


@dataclass(frozen=True)
class TargetJudge:
    """Scores images; it can be sent to other processes.

    Attributes:
        encoder: whose features are looked at.
        members: logistic regressions of "other" and "target".
        style: what is added to the features of dreams [D], see `style_gap`.
    """

    encoder: Encoder
    members: tuple[Probe, ...]
    style: Features

    def __call__(self, images: Pixels, *, dreamed: bool = False) -> tuple[Floats, Floats]:
        """uint8 [B, S, S, 3] -> probability of the target, mean over the members [B], and its deviation [B]."""
        features = features_of(self.encoder, images)
        if dreamed:
            features = features + self.style
        each = np.stack([member.probabilities(features)[:, 1] for member in self.members])
        return each.mean(axis=0), each.std(axis=0)

    def without(self, member: int) -> "TargetJudge":
        """The judgement of the others."""
        return replace(self, members=self.members[:member] + self.members[member + 1 :])


def features_of(encoder: Encoder, images: Pixels) -> Features:
    """Features [N, D] of images as a judge sees them, equalised; uint8 [N, S, S, 3]."""
    return encoder.features(equalise(images))


def train_judge(
    encoder: Encoder, learned: Sequence[Lot], held: Sequence[Lot], settings: JudgeSettings, *, members: int
) -> TargetJudge:
    """Fit the ensemble.

    Args:
        encoder: of the features.
        learned: examples of both classes.
        held: others, on which the probabilities are calibrated.
        settings: what counts how much.
        members: of the ensemble.
    """
    seen, held_seen = ([features_of(encoder, lot.images) for lot in lots] for lots in (learned, held))
    style = style_gap(learned, seen)
    seen, held_seen = moved(learned, seen, style), moved(held, held_seen, style)
    return TargetJudge(encoder, fit_members(learned, seen, held, held_seen, settings, members=members), style)


def style_gap(lots: Sequence[Lot], seen: Sequence[Features]) -> Features:
    """What the survey has and its dreams lack: mean features of its galaxies less those of dreams of the same mix [D].

    Added to the features of all dreams it takes the style of the generator from what a judge can learn. Only those
    principal directions count in which the two means differ by more than `SURE` standard errors: the rest is the luck
    of the draw, and a judge would learn it. Without unlabelled galaxies or such dreams the gap is zero.
    """
    found = {lot.kind: features for lot, features in zip(lots, seen, strict=True) if lot.ids}
    if not {UNLABELLED, MIX} <= set(found):
        return np.zeros(seen[0].shape[1])
    real, mix = found[UNLABELLED], found[MIX]
    centred = np.concatenate([real - real.mean(axis=0), mix - mix.mean(axis=0)])
    directions = np.linalg.eigh(centred.T @ centred)[1]
    gap = (real.mean(axis=0) - mix.mean(axis=0)) @ directions
    variance = sum((features @ directions).var(axis=0) / len(features) for features in (real, mix))
    sure: Features = directions @ np.where(np.abs(gap) > SURE * np.sqrt(variance), gap, 0.0)
    return sure


def moved(lots: Sequence[Lot], seen: Sequence[Features], style: Features) -> list[Features]:
    """Features of each lot, those of dreams moved by the style."""
    return [features + style if lot.dreamed else features for lot, features in zip(lots, seen, strict=True)]


def fit_members(
    learned: Sequence[Lot],
    seen: Sequence[Features],
    held: Sequence[Lot],
    held_seen: Sequence[Features],
    settings: JudgeSettings,
    *,
    members: int,
) -> tuple[Probe, ...]:
    """The same from features [N, D] of each lot; each member is given its own part of the unlabelled galaxies."""
    dimension = seen[0].shape[1]
    probes = []
    for member in range(members):
        own = [places(lot, member, members) for lot in learned]
        counts = [len(rows) for rows in own]
        probes.append(
            fit_probe(
                np.concatenate([features[rows] for features, rows in zip(seen, own, strict=True)]),
                _labels(learned, counts),
                np.concatenate([*held_seen, np.empty((0, dimension))]),
                _labels(held, [len(lot.ids) for lot in held]),
                classes=2,
                sample_weights=np.repeat(lot_weights(learned, counts, settings), counts),
                strengths=(settings.strength,),
            )
        )
    return tuple(probes)


def lot_weights(lots: Sequence[Lot], counts: Sequence[int], settings: JudgeSettings) -> Floats:
    """How much a galaxy of each lot counts [L]; the mean over all galaxies is 1, and both classes weigh alike.

    Of the target, k real galaxies weigh k / (k + `real`) and its dreams the rest. Of the others, near misses weigh
    `near` (real ones among them are candidates that were refused, shared out in the same way) and unlabelled galaxies
    the rest. Where one of two kinds is absent the other has all.

    Args:
        lots: of both classes.
        counts: galaxies of each lot that are learned from.
        settings: what counts how much.
    """
    groups = [_group(lot) for lot in lots]
    n = Counter[str]()
    for group, count in zip(groups, counts, strict=True):
        n[group] += count
    near = n["refused"] + n["near misses"]
    share_near = (settings.near if n[UNLABELLED] else 1.0) if near else 0.0
    known, refused = (
        real / (real + (settings.real if dreams else 0.0)) if real else 0.0
        for real, dreams in ((n["known"], n["dreams"]), (n["refused"], n["near misses"]))
    )
    mass = {
        "known": known,
        "dreams": 1 - known,
        "refused": share_near * refused,
        "near misses": share_near * (1 - refused),
        UNLABELLED: 1 - share_near,
    }
    return np.array([mass[group] / max(n[group], 1) * n.total() / 2 for group in groups])


def _group(lot: Lot) -> str:
    if lot.label == 1:
        return "dreams" if lot.dreamed else "known"
    if lot.kind == UNLABELLED:
        return UNLABELLED
    return "near misses" if lot.dreamed else "refused"


def _labels(lots: Sequence[Lot], counts: Sequence[int]) -> npt.NDArray[np.int64]:
    return np.repeat(np.array([lot.label for lot in lots], np.int64), counts)
