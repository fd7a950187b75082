"""A small classifier of galaxies, trained on real ones by whoever needs to know what a picture shows; never kept.

In: images uint8 [N, S, S, 3] with a class each. Out: a `Reader` that gives classes and features of further images. Same
seed, same machine: same reader.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from galaxysd.data.transforms import dihedral
from galaxysd.nn import fast_precision
from galaxysd.settings import Settings
from galaxysd.training.ema import ExponentialMovingAverage

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
CPU = torch.device("cpu")


class ReaderSettings(Settings):
    """How the classifier is trained."""

    seed: int = Field(default=0, ge=0)
    images: int = Field(default=120_000, ge=1, description="images seen")
    batch: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0, description="peak; one cycle up and down")
    weight_decay: float = Field(default=0.05, ge=0)
    smoothing: float = Field(default=0.05, ge=0, lt=1, description="of the labels: volunteers err")
    average: float = Field(default=0.1, gt=0, le=1, description="memory of the weight average / images seen")
    choices: int = Field(default=10, ge=1, description="how often the average is scored on the validation galaxies")
    features: int = Field(default=64, ge=1, description="width of the last layer but one")


@dataclass(frozen=True)
class GalaxySet:
    """Images uint8 [N, S, S, 3] and their classes [N]."""

    images: Pixels
    labels: Labels


class ReaderNetwork(nn.Module):
    """Four stages of two 3x3 convolutions at 1/2 to 1/16 of the resolution, mean over the sky, features, classes."""

    def __init__(self, classes: int, features: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in (24, 48, 96, 128):
            for stride in (2, 1):
                convolution = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
                layers += [convolution, nn.GroupNorm(width // 8, width), nn.SiLU()]
                channels = width
        self.layers = nn.Sequential(*layers)
        self.features = nn.Linear(channels, features)
        self.classes = nn.Linear(features, classes)
        self.to(memory_format=torch.channels_last)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 [B, 3, S, S] -> logits [B, C] and features [B, F], float32."""
        precision = fast_precision(CPU)
        images = (pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            seen = self.layers(images)
        features = functional.silu(self.features(seen.float().mean(dim=(2, 3))))
        return self.classes(features), features


@dataclass(frozen=True)
class Reader:
    """A trained classifier.

    Attributes:
        network: the weights that did best.
        validation: their accuracy on the validation galaxies, mean over classes.
    """

    network: ReaderNetwork
    validation: float

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(weight.numel() for weight in self.network.parameters())

    @torch.no_grad()
    def read(self, images: Pixels) -> tuple[Labels, npt.NDArray[np.float64]]:
        """Classes [N] and features [N, F] of images uint8 [N, S, S, 3]."""
        logits, features = [], []
        for block in _planes(images).split(256):
            one, other = self.network(block)
            logits.append(one)
            features.append(other)
        return torch.cat(logits).argmax(dim=1).numpy(), torch.cat(features).double().numpy()


def balanced(labels: Labels, classes: int, size: int, generator: torch.Generator) -> Tensor:
    """Indices of a batch in which every class is equally likely, whatever its number of galaxies."""
    members = [torch.from_numpy(np.flatnonzero(labels == index)) for index in range(classes)]
    kinds = torch.randint(classes, (size,), generator=generator)
    lots = torch.rand(size, generator=generator)
    return torch.stack([members[kind][int(lot * len(members[kind]))] for kind, lot in zip(kinds, lots, strict=True)])


def macro_accuracy(read: Labels, labels: Labels, classes: int) -> float:
    """Mean of the classes' accuracies."""
    return float(np.mean([(read == labels)[labels == index].mean() for index in range(classes)]))


def train_reader(train: GalaxySet, val: GalaxySet, classes: int, settings: ReaderSettings) -> Reader:
    """Train with random orientations and balanced classes; keep the weight average that does best on `val`.

    Args:
        train: real galaxies.
        val: real galaxies to choose by.
        classes: number of classes.
        settings: how.
    """
    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    network = ReaderNetwork(classes, settings.features)
    scored = Reader(ReaderNetwork(classes, settings.features), 0.0)
    average = ExponentialMovingAverage(network, fraction=settings.average)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=settings.weight_decay)
    steps = max(1, settings.images // settings.batch)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=steps + 1)
    images, labels = _planes(train.images), torch.from_numpy(train.labels)
    looks = {round((look + 1) * steps / settings.choices) for look in range(settings.choices)} | {steps}
    best: dict[str, Tensor] = {}
    score = -1.0
    for step in range(1, steps + 1):
        chosen = balanced(train.labels, classes, settings.batch, generator)
        turned = dihedral(images[chosen], torch.randint(8, (settings.batch,), generator=generator))
        logits, _ = network(turned)
        loss = functional.cross_entropy(logits, labels[chosen], label_smoothing=settings.smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        cycle.step()
        average.update(network, images_seen=step * settings.batch, batch=settings.batch)
        if step in looks:
            scored.network.load_state_dict(average.weights)
            now = macro_accuracy(scored.read(val.images)[0], val.labels, classes)
            if now >= score:  # of equals the later one, which has seen more
                score, best = now, {name: value.clone() for name, value in average.weights.items()}
    scored.network.load_state_dict(best)
    return Reader(scored.network.eval(), score)


def _planes(images: Pixels) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
