"""Train a classifier of galaxies and use it: examples in, calibrated probabilities of the classes out.

Training is training/fit.py on batches drawn from real and synthetic galaxies at a set probability; the averaged weights
are kept, and their probabilities are calibrated on held-out galaxies (calibration.py).
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from scipy.special import softmax
from torch import Tensor, nn

from galaxysd.classifiers import losses, transforms
from galaxysd.classifiers.checkpoint import ClassifierRecord, TrainedNetwork
from galaxysd.classifiers.network import ClassifierNetwork, make_network
from galaxysd.classifiers.transforms import StrongAugmentation
from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.errors import InputError
from galaxysd.metrics import calibration
from galaxysd.runs import Run
from galaxysd.settings import FrozenModel, Settings
from galaxysd.training import checkpoint
from galaxysd.training.ema import swapped
from galaxysd.training.fit import Batch, Budget, FitSettings, fit
from galaxysd.types import Floats, Pixels


class ClassifierSettings(Settings):
    """How a classifier is built and trained."""

    network: ClassifierNetwork = ClassifierNetwork()
    loss: Literal["cross-entropy", "focal"] = "cross-entropy"
    gamma: float = Field(default=2.0, ge=0, description="exponent of the focal loss")
    class_weights: bool = Field(
        default=False, description="weigh each class by one over its share of what is drawn, so that all count alike"
    )
    balanced: bool = Field(default=False, description="draw every class equally often (oversampling)")
    augmentation: Literal["dihedral", "strong"] = "dihedral"
    strong: StrongAugmentation = StrongAugmentation()
    synthetic_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="probability that a drawn example is a generated galaxy, where there are both kinds",
    )
    images: int = Field(default=20_000, ge=1, description="images seen")
    fit: FitSettings = FitSettings(
        batch=64,
        learning_rate=5e-3,
        weight_decay=0.05,
        warmup=1_280,
        cooldown=0.9,
        average=0.1,
        log_every=3_200,
        snapshot_every=10**9,
    )


class ClassifierTraining(FrozenModel):
    """What makes two trainings the same."""

    settings: ClassifierSettings
    classes: tuple[str, ...] = Field(min_length=2)
    train: str = Field(description="hash of the training galaxies")
    held_out: str = Field(description="hash of those the temperature is chosen on")


class GalaxyClassifier(TrainedNetwork):
    """A trained classifier; `load` and `save` are those of checkpoint.py."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes."""
        return self.record.outputs

    @property
    def temperature(self) -> float:
        """What the logits are divided by."""
        return self.record.temperature

    def probabilities(self, images: Pixels, orientations: int = 8) -> Floats:
        """Calibrated probabilities of the classes.

        Args:
            images: uint8 [N, S, S, 3].
            orientations: how many turns and flips of each image the logits are averaged over, 1 to 8.

        Returns:
            [N, K], rows sum to one.

        Raises:
            InputError: not such images.
        """
        found: Floats = softmax(self.outputs(images, orientations) / self.temperature, axis=1)
        return found


def drawing_probabilities(examples: GalaxySet, settings: ClassifierSettings) -> Floats:
    """How often each example is drawn [N]; sums to one.

    Real and synthetic galaxies share the draws by `synthetic_share` (all of them where there is one kind only); within
    each kind, examples are drawn alike, or classes alike if `balanced`.
    """
    probability = np.zeros(len(examples))
    for synthetic, share in ((False, 1 - settings.synthetic_share), (True, settings.synthetic_share)):
        group = examples.synthetic == synthetic
        if not group.any():
            continue
        labels = examples.labels[group]
        within = 1 / np.bincount(labels)[labels] if settings.balanced else np.ones(len(labels))
        probability[group] = (share if (~group).any() else 1.0) * within / within.sum()
    return probability


class ExampleDraws:
    """Random batches of examples (protocol `Data` of training/fit.py)."""

    def __init__(self, examples: GalaxySet, classes: int, settings: ClassifierSettings) -> None:
        self.examples, self.classes, self.settings = examples, classes, settings
        self._labels = torch.from_numpy(examples.labels)
        self._cumulative = np.cumsum(drawing_probabilities(examples, settings))

    def batch(self, size: int, generator: torch.Generator) -> Batch:
        """`images` uint8 [B, 3, S, S], varied, and `targets` [B, K], a distribution over the classes."""
        lot = torch.rand(size, generator=generator, dtype=torch.float64).numpy() * self._cumulative[-1]
        chosen = np.searchsorted(self._cumulative, lot, side="right").clip(max=len(self.examples) - 1)
        images, labels = self.examples.planes(chosen), self._labels[torch.from_numpy(chosen)]
        if self.settings.augmentation == "strong":
            images, targets = transforms.strong(images, labels, self.classes, self.settings.strong, generator)
            return {"images": images, "targets": targets}
        targets = nn.functional.one_hot(labels, self.classes).float()
        return {"images": transforms.turned(images, generator), "targets": targets}


class ClassifierTask:
    """Learn the classes (protocol `Task` of training/fit.py)."""

    def __init__(self, network: nn.Module, weights: Tensor, settings: ClassifierSettings, held_out: GalaxySet) -> None:
        """Args: network: K outputs. weights: of the classes [K]. settings: the loss. held_out: to watch."""
        self.model = network
        self.weights, self.settings, self.held_out = weights, settings, held_out

    def prepare(self, batch: Batch, generator: torch.Generator, progress: float) -> Batch:
        """The batch as it is."""
        return batch

    def loss(
        self, model: nn.Module, batch: Batch, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        """Mean weighted loss of a batch."""
        device = next(model.parameters()).device
        targets = batch["targets"].to(device)
        logits = model(batch["images"].to(device))
        gamma = self.settings.gamma if self.settings.loss == "focal" else 0.0
        each = losses.focal(logits, targets, gamma) if gamma else losses.cross_entropy(logits, targets)
        return (each * (targets @ self.weights.to(device))).mean(), {}

    @torch.no_grad()
    def snapshot(self, weights: dict[str, Tensor], folder: Path, images_seen: int) -> dict[str, float]:
        """Cross-entropy and accuracy of the averaged weights on the held-out galaxies."""
        if not len(self.held_out):
            return {}
        device = next(self.model.parameters()).device
        with swapped(self.model, weights):
            self.model.eval()
            logits = torch.cat(
                [self.model(block.to(device)).cpu() for block in torch.split(self.held_out.planes(), 256)]
            )
        self.model.train()
        labels = torch.from_numpy(self.held_out.labels)
        entropy = nn.functional.cross_entropy(logits, labels)
        right = (logits.argmax(dim=1) == labels).float().mean()
        return {"held_out": round(float(entropy), 5), "accuracy": round(float(right), 5)}


def train_classifier(
    train: GalaxySet,
    held_out: GalaxySet,
    classes: tuple[str, ...],
    folder: str | Path,
    settings: ClassifierSettings,
    seed: int = 0,
) -> GalaxyClassifier:
    """Train a classifier, or read it where that was done before; an interrupted training goes on.

    Args:
        train: real and synthetic galaxies to learn from.
        held_out: galaxies for the temperature; without any, probabilities are left as they are.
        classes: names of the K classes, by label.
        folder: run folder; the classifier is in `folder/model`, checkpoints go when it is there.
        settings: how.
        seed: of the weights and of every draw, in place of the one in `settings.fit`.

    Raises:
        InputError: a label without a class, one class only, no galaxies, or the folder holds another training.
    """
    settings = settings.model_copy(update={"fit": settings.fit.model_copy(update={"seed": seed})})
    result, classifier = continue_training(train, held_out, classes, folder, settings)
    if not result["done"]:
        raise InputError(f"{folder}: the training was interrupted; the same command goes on")
    for left in Path(folder).glob(f"{checkpoint.PREFIX}*"):
        shutil.rmtree(left)
    return classifier


def continue_training(
    train: GalaxySet,
    held_out: GalaxySet,
    classes: tuple[str, ...],
    folder: str | Path,
    settings: ClassifierSettings,
    *,
    images: int | None = None,
    minutes: float | None = None,
    about: dict[str, Any] | None = None,
) -> tuple[dict[str, Any], GalaxyClassifier]:
    """Train until the budget or the minutes are spent, and write `folder/model`; arguments as `train_classifier`.

    Args:
        images: images seen in the end, default from the settings; a finished run goes on if this is raised.
        minutes: of this stretch.
        about: what else the record is to say of the training.

    Returns:
        What `fit` says of the training, and the classifier as it is.

    Raises:
        InputError: as `train_classifier`.
    """
    _check(train, held_out, classes)
    identity = ClassifierTraining(
        settings=settings,
        classes=classes,
        train=_hash(train),
        held_out=_hash(held_out),
    )
    run = Run.open(folder, identity)
    total = settings.images if images is None else images
    if run.summary is not None and run.summary["images_seen"] >= total:
        return {**run.summary, "already_done": True}, GalaxyClassifier.load(run.folder / "model")
    torch.manual_seed(settings.fit.seed)
    network = make_network(settings.network, len(classes))
    weights = torch.ones(len(classes))
    if settings.class_weights:
        drawn = np.bincount(train.labels, weights=drawing_probabilities(train, settings), minlength=len(classes))
        met = drawn > 0
        weights = torch.from_numpy(np.where(met, 1 / (met.sum() * np.where(met, drawn, 1)), 0)).float()
    task = ClassifierTask(network, weights, settings, held_out)
    result = fit(
        task,
        ExampleDraws(train, len(classes), settings),
        settings.fit,
        run,
        Budget(images=total, minutes=minutes),
    )
    network = averaged(network, run)
    record = ClassifierRecord(
        target="classes",
        network=settings.network,
        outputs=classes,
        size=train.size,
        training={
            **(about or {}),
            "settings": json.loads(settings.model_dump_json()),
            "galaxies": np.bincount(train.labels[~train.synthetic], minlength=len(classes)).tolist(),
            "synthetic": np.bincount(train.labels[train.synthetic], minlength=len(classes)).tolist(),
            "held_out": held_out.counts(len(classes)).tolist(),
            "data_hash": identity.content_hash(),
            "images_seen": result["images_seen"],
        },
    )
    logits = TrainedNetwork(network, record).outputs(held_out.images)
    record = record.model_copy(update={"temperature": calibration.temperature(logits, held_out.labels)})
    classifier = GalaxyClassifier(network, record)
    classifier.save(run.folder / "model")
    if result["done"]:
        run.finish(result)
    return result, classifier


def averaged(network: nn.Module, run: Run) -> nn.Module:
    """The network with the averaged weights of the run's latest checkpoint, in evaluation mode."""
    from safetensors.torch import load_file

    last = checkpoint.latest(run.folder)
    assert last is not None  # fit always leaves one
    network.load_state_dict(load_file(last / "average.safetensors"))
    return network.eval()


def _check(train: GalaxySet, held_out: GalaxySet, classes: tuple[str, ...]) -> None:
    if not len(train):
        raise InputError("training: there are no galaxies")
    for name, examples in (("training", train), ("held-out", held_out)):
        if len(examples) and not 0 <= examples.labels.min() <= examples.labels.max() < len(classes):
            bad = int(((examples.labels < 0) | (examples.labels >= len(classes))).argmax())
            raise InputError(
                f"{name}: {examples.ids[bad]} has label {examples.labels[bad]}; expected 0 to {len(classes) - 1}"
            )
    only = set(train.labels.tolist())
    if len(only) < 2:
        raise InputError(f"training: every galaxy is of class {classes[only.pop()]!r}; a classifier needs two classes")
    if len(held_out) and held_out.size != train.size:
        raise InputError(f"held-out: images of {held_out.size} px; those of the training have {train.size}")


def _hash(examples: GalaxySet) -> str:
    """16 hex digits over pixels, labels, ids and kinds."""
    total = hashlib.sha256("\n".join(examples.ids).encode())
    for values in (examples.images, examples.labels, examples.synthetic):
        total.update(np.ascontiguousarray(values).data)
    return total.hexdigest()[:16]
