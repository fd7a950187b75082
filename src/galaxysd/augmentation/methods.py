"""The arms of the augmentation experiment: ways to train a classifier from few real galaxies, with and without
synthetic galaxies.

In: a `ExperimentData` and a `RunSpec` (arm, shots, seed). Out: probabilities of the test galaxies, and what was done.

All arms of a cell's shots and seed draw the same real galaxies, hold out the same of them to tune and calibrate with,
and start from the same weights; all networks see the same number of images.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from pydantic import Field

from galaxysd.augmentation.experiment_data import ExperimentData
from galaxysd.augmentation.filtering import label_mismatch
from galaxysd.augmentation.shots import Shots, draw_shots
from galaxysd.augmentation.synthesis import need
from galaxysd.classifiers.linear_probe import as_classifier, fit_probe, log_loss
from galaxysd.classifiers.metrics import METRICS, class_metrics, macro
from galaxysd.classifiers.train import ClassifierSettings, GalaxyClassifier, train_classifier
from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.encoders.checkpoint import read_encoder
from galaxysd.settings import FrozenModel, Settings
from galaxysd.types import Floats, Labels

OWN: Final = "embedding"  # roles of encoders
PRETRAINED: Final = "pretrained"
SYNTHETIC: Final = "synthetic"  # pools: with the model's own guidance, and with a low one
VARIED: Final = "varied"
SHARE = 0.5  # most that synthetic galaxies may be of what is drawn

Level = int | Literal["all"]


class Arm(Settings):
    """One way to train."""

    name: str
    learner: Literal["network", "probe"] = "network"
    encoder: Literal["embedding", "pretrained"] = Field(default=OWN, description="of a probe")
    real: bool = Field(default=True, description="real galaxies are learned from")
    ratio: float = Field(default=0.0, ge=0, description="generated galaxies per real galaxy")
    pool: Literal["synthetic", "varied"] = Field(default=SYNTHETIC, description="where generated galaxies come from")
    filtered: bool = Field(default=True, description="refused generated galaxies are left out")
    class_weights: bool = False
    strong: bool = Field(default=False, description="oversampling and strong augmentation")
    gammas: tuple[float, ...] = Field(default=(), description="focal loss; the best on the held-out galaxies counts")
    explored: bool = Field(default=False, description="run at two levels of shots only")

    @property
    def slug(self) -> str:
        """The name as part of a file name."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.name)

    @property
    def trainings(self) -> int:
        """Networks to train."""
        return 0 if self.learner == "probe" else max(1, len(self.gammas))


class RunSpec(FrozenModel):
    """One run of the experiment."""

    arm: str
    shots: Level
    seed: int

    @property
    def number(self) -> int | None:
        """Galaxies per class; None: all."""
        return None if self.shots == "all" else int(self.shots)


def standard_arms(
    ratios: Sequence[float], gammas: Sequence[float], roles: Sequence[str], *, explore: bool
) -> tuple[Arm, ...]:
    """All arms, the baseline first.

    Args:
        ratios: synthetic galaxies per real galaxy.
        gammas: of the focal loss.
        roles: encoders at hand, `embedding` among them or not.
        explore: also the variants of how synthetic galaxies are used, at two levels of shots.
    """
    most = max(ratios)
    arms = [
        Arm(name="baseline"),
        Arm(name="class weights", class_weights=True),
        Arm(name="strong augmentation", strong=True),
        Arm(name="focal loss", gammas=tuple(gammas)),
        *(Arm(name=f"dreams x{ratio:g}", ratio=ratio) for ratio in ratios),
        Arm(name=f"dreams x{most:g}, strong", ratio=most, strong=True),
        Arm(name="dreams only", ratio=most, real=False),
    ]
    for role in roles:
        name = "probe" if role == OWN else "pretrained probe"
        encoder: Literal["embedding", "pretrained"] = "embedding" if role == OWN else "pretrained"
        arms += [
            Arm(name=name, learner="probe", encoder=encoder),
            Arm(name=f"dreams x{most:g}, {name}", learner="probe", encoder=encoder, ratio=most),
        ]
    if explore:
        arms += [
            Arm(name="low guidance", ratio=most, pool=VARIED, explored=True),
            Arm(name="unfiltered", ratio=most, filtered=False, explored=True),
        ]
    return tuple(arms)


@dataclass(frozen=True)
class Outcome:
    """What a cell found.

    Attributes:
        probabilities: of the test galaxies [N, K].
        row: for the record.
        model: folder of the classifier; None for a probe of an encoder that is not GalaxyEmb.
    """

    probabilities: Floats
    row: dict[str, Any]
    model: Path | None


@dataclass(frozen=True)
class _Training:
    """The galaxies of a cell; places are rows of the data."""

    shots: Shots
    synthetic: Labels
    refused: dict[str, int]


def run_spec(data: ExperimentData, arm: Arm, spec: RunSpec, settings: ClassifierSettings, folder: Path) -> Outcome:
    """Train as the arm says and let the classifier judge the test galaxies; an interrupted training goes on.

    Args:
        data: data and synthetic galaxies.
        arm: how.
        spec: with how many galaxies, and which seed.
        settings: of the networks.
        folder: for their training.
    """
    began = time.monotonic()
    chosen = _training(data, arm, spec)
    learn = _probe if arm.learner == "probe" else _network
    probabilities, held_loss, about, model = learn(data, arm, chosen, spec, settings, folder)
    each = class_metrics(data.test.labels, probabilities)
    return Outcome(
        probabilities,
        {
            **spec.model_dump(),
            "real": list(chosen.shots.counts) if arm.real else [0] * len(data.classes),
            "synthetic": np.bincount(
                data.synthetic[arm.pool].labels[chosen.synthetic] if arm.ratio else [], minlength=len(data.classes)
            ).tolist(),
            **chosen.refused,
            **dict(zip(METRICS, macro(each).round(5).tolist(), strict=True)),
            "held_out_loss": round(held_loss, 5),
            **about,
            "seconds": round(time.monotonic() - began, 2),
        },
        model,
    )


def _training(data: ExperimentData, arm: Arm, spec: RunSpec) -> _Training:
    shots = draw_shots(data.train.labels, data.classes, spec.number, spec.seed)
    if not arm.ratio:
        return _Training(shots, np.empty(0, np.int64), {})
    pool, classes = data.synthetic[arm.pool], len(data.classes)
    copied = data.copied[arm.pool]
    unseen = np.zeros(len(pool), dtype=bool)
    if OWN in data.features:
        features, places = data.features[OWN], np.concatenate([shots.train, shots.held_out])
        known, labels = features["train"][places], data.train.labels[places]
        if arm.filtered:
            unseen = label_mismatch(features[arm.pool], pool.labels, known, labels, classes, seed=spec.seed)
    kept = ~(copied | unseen) if arm.filtered else np.ones(len(pool), dtype=bool)
    left = np.bincount(pool.labels[kept], minlength=classes).tolist()
    counts = need(shots.counts, arm.ratio, left)
    rng = np.random.default_rng(spec.seed)
    taken = [rng.permutation(np.flatnonzero(kept & (pool.labels == k)))[:n] for k, n in enumerate(counts)]
    refused = {"copies": int(copied.sum()), "label_mismatch": int((unseen & ~copied).sum()), "pool": len(pool)}
    return _Training(shots, np.concatenate(taken), refused if arm.filtered else {"pool": len(pool)})


Learned = tuple[Floats, float, dict[str, Any], Path | None]  # of the test galaxies, held-out loss, notes, classifier


def _network(
    data: ExperimentData, arm: Arm, chosen: _Training, spec: RunSpec, settings: ClassifierSettings, folder: Path
) -> Learned:
    parts = [data.train.subset(chosen.shots.train)] if arm.real else []
    parts += [data.synthetic[arm.pool].subset(chosen.synthetic)] if arm.ratio else []
    train, held_out = GalaxySet.join(*parts), data.train.subset(chosen.shots.held_out)
    base = settings.model_copy(
        update={
            "class_weights": arm.class_weights,
            "balanced": arm.strong,
            "augmentation": "strong" if arm.strong else settings.augmentation,
            "synthetic_share": min(SHARE, float(train.synthetic.mean())),
        }
    )
    found: list[tuple[float, GalaxyClassifier, Path, dict[str, Any]]] = []
    for gamma in arm.gammas or (None,):
        where, about = folder, {}
        own = base
        if gamma is not None:
            where, about = folder / f"gamma-{gamma:g}", {"gamma": gamma}
            own = base.model_copy(update={"loss": "focal", "gamma": gamma})
        classifier = train_classifier(train, held_out, data.classes, where, own, spec.seed)
        cost = log_loss(np.log(classifier.probabilities(held_out.images).clip(1e-12)), held_out.labels)
        found.append((cost, classifier, where, about))
    cost, classifier, where, about = min(found, key=lambda one: one[0])
    return classifier.probabilities(data.test.images), cost, about, where / "model"


def _probe(
    data: ExperimentData, arm: Arm, chosen: _Training, spec: RunSpec, settings: ClassifierSettings, folder: Path
) -> Learned:
    features, real = data.features[arm.encoder], chosen.shots.train
    known, labels = [features["train"][real]], [data.train.labels[real]]
    weights = [np.ones(len(real))]
    if arm.ratio:
        synthetic = chosen.synthetic
        share = min(SHARE, len(synthetic) / (len(synthetic) + len(real)))
        known.append(features[arm.pool][synthetic])
        labels.append(data.synthetic[arm.pool].labels[synthetic])
        weights.append(np.full(len(synthetic), share / (1 - share) * len(real) / max(len(synthetic), 1)))
    held = chosen.shots.held_out
    held_features, held_labels = features["train"][held], data.train.labels[held]
    probe = fit_probe(
        np.concatenate(known),
        np.concatenate(labels),
        held_features,
        held_labels,
        len(data.classes),
        sample_weights=np.concatenate(weights),
    )
    cost = log_loss(np.log(probe.probabilities(held_features).clip(1e-12)), held_labels)
    place = data.encoders.get(arm.encoder)
    if place is not None:
        network = read_encoder(place, arm.encoder, torch.device("cpu")).network
        place = as_classifier(probe, network, data.classes, data.test.size).save(folder / "model")
    return probe.probabilities(features["test"]), cost, {"strength": probe.strength}, place
