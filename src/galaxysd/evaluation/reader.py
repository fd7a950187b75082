"""Readers: classifiers of real galaxies only, which say what a picture shows, answer by answer.

In: dataset folders. Out: an ensemble that gives the fraction of every answer of every question for uint8 images: the
galaxy substitute for a visual question-answering score (Astolfi et al. 2024, arXiv 2406.10429).

Each answer has a logistic output of its own, trained on the vote fractions themselves (cross-entropy with soft targets,
known questions only): fractions of a question need not sum to one (EFIGI's strengths do not).

Small batches learn most from few images. One reader of 24,000 SDSS images in batches of 64, 32 and 16 comes to a
held-out cross-entropy of 0.408, 0.392 and 0.385 and names 92, 94 and 95 % of the clear answers of unseen galaxies
rightly; 96,000 images in batches of 64 come to 0.374 and 97 %, in twice the time.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from galaxysd.catalog.tree import DecisionTree
from galaxysd.data.dataset import Dataset
from galaxysd.data.transforms import dihedral
from galaxysd.diffusion.condition import Condition, answers_of
from galaxysd.diffusion.data import DataSettings, GalaxyPool
from galaxysd.errors import InputError
from galaxysd.nn import SILU_RMS, MPConv, fast_precision, normalise_channels, normalise_weights
from galaxysd.runs import Run
from galaxysd.settings import FrozenModel, Settings
from galaxysd.training import checkpoint
from galaxysd.training.ema import swapped
from galaxysd.training.fit import Batch, Budget, FitSettings, fit
from galaxysd.types import Floats, Pixels


class ReaderSettings(Settings):
    """How the readers are built and trained."""

    readers: int = Field(default=2, ge=1, description="size of the ensemble; each has a seed of its own")
    widths: tuple[int, ...] = Field(
        default=(64, 128, 192), min_length=1, description="channels, each level half as fine"
    )
    images: int = Field(default=24_000, ge=1, description="images seen by each reader")
    data: DataSettings = DataSettings(rare_boost=2.0)
    fit: FitSettings = FitSettings(
        batch=16, learning_rate=0.02, warmup=1_600, cooldown=0.9, average=0.1, snapshot_every=10**9
    )


class ReaderIdentity(FrozenModel):
    """What makes two readers the same: settings, seed and data."""

    settings: ReaderSettings
    seed: int
    datasets: tuple[str, ...] = Field(description="survey and hash of the inputs of each dataset")


class ReaderStage(nn.Module):
    """Half the resolution, then a residual pair of 3x3 convolutions."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.inlet = MPConv(4 * channels_in, channels_out)
        self.first = MPConv(channels_out, channels_out, 3, gain=1 / SILU_RMS)
        self.second = MPConv(channels_out, channels_out, 3, gain=1 / SILU_RMS)

    def forward(self, features: Tensor) -> Tensor:
        """[B, C_in, h, w] -> [B, C_out, h / 2, w / 2]."""
        stream = normalise_channels(self.inlet(functional.pixel_unshuffle(features, 2)))
        branch: Tensor = self.second(functional.silu(self.first(functional.silu(stream))))
        total: Tensor = (stream + branch) * 0.5**0.5
        return total


class ReaderNetwork(nn.Module):
    """Residual convolutions at 1/2, 1/4, ... of the resolution, the mean over the sky, one logit per answer."""

    def __init__(self, answers: int, widths: Sequence[int]) -> None:
        super().__init__()
        channels = (3, *widths)
        self.stages = nn.Sequential(*(ReaderStage(*pair) for pair in itertools.pairwise(channels)))
        self.answers = MPConv(channels[-1], answers, gain=1 / SILU_RMS)
        self.gain = nn.Parameter(torch.ones(()))
        self.bias = nn.Parameter(torch.zeros(answers))

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 [B, 3, S, S] -> logits [B, A]."""
        if self.training:
            normalise_weights(self)
        features = (pixels.float() / 63.75 - 1).to(fast_precision(pixels.device))
        features = self.stages(features.contiguous(memory_format=torch.channels_last))
        pooled = functional.silu(features.float()).mean(dim=(2, 3))
        logits: Tensor = self.gain * self.answers(pooled) + self.bias
        return logits


class Labelled(Protocol):
    """Images with fractions, as a `GalaxyPool` offers them."""

    def __len__(self) -> int:
        """Number of galaxies N."""

    def images(self, indices: npt.NDArray[np.int64]) -> Tensor:
        """uint8 [B, 3, S, S]."""

    def condition(self, indices: npt.NDArray[np.int64]) -> Condition:
        """What is known of them."""

    def batch(self, size: int, generator: torch.Generator) -> Batch:
        """A random batch, turned at random: `images`, `fractions`, `known`."""


class ReaderTask:
    """Learn the vote fractions of galaxies (protocol `Task` of training/fit.py)."""

    def __init__(self, network: ReaderNetwork, tree: DecisionTree, held_out: Labelled) -> None:
        self.model: nn.Module = network
        self.answers = answers_of(tree)
        self.held_out = held_out

    def prepare(self, batch: Batch, generator: torch.Generator, progress: float) -> Batch:
        """The batch as it is."""
        return batch

    def loss(
        self, model: nn.Module, batch: Batch, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        """Mean cross-entropy of the known answers of a batch."""
        device = next(model.parameters()).device
        told = batch["known"][:, self.answers].to(device)
        return cross_entropy(model(batch["images"].to(device)), batch["fractions"].to(device), told), {}

    @torch.no_grad()
    def snapshot(self, weights: dict[str, Tensor], folder: Path, images_seen: int) -> dict[str, float]:
        """Held-out cross-entropy of the averaged weights."""
        indices = np.arange(len(self.held_out))
        condition = self.held_out.condition(indices)
        with swapped(self.model, weights):
            normalise_weights(self.model)
            self.model.eval()
            logits = torch.cat([self.model(block) for block in torch.split(self.held_out.images(indices), 256)])
        self.model.train()
        found = cross_entropy(logits, condition.fractions, condition.known[:, self.answers])
        return {"held_out": round(float(found), 5)}


def cross_entropy(logits: Tensor, fractions: Tensor, told: Tensor) -> Tensor:
    """Mean over the answers told [B, A] (bool) of the cross-entropy between fractions and logistic outputs, [B, A]."""
    each = functional.binary_cross_entropy_with_logits(logits, fractions, reduction="none")
    return (each * told).sum() / told.sum().clamp(min=1)


@dataclass(frozen=True)
class Readers:
    """A trained ensemble.

    Attributes:
        networks: its members.
        tree: whose answers they give.
    """

    networks: tuple[ReaderNetwork, ...]
    tree: DecisionTree

    @torch.inference_mode()
    def read(self, images: Pixels, *, block: int = 128) -> Floats:
        """Fractions [N, A] of uint8 images [N, S, S, 3]: the mean over members and eight orientations."""
        found = []
        for start in range(0, len(images), block):
            planes = torch.from_numpy(np.ascontiguousarray(images[start : start + block].transpose(0, 3, 1, 2)))
            total = torch.zeros(len(planes), len(self.tree.columns))
            for turn in range(8):
                turned = dihedral(planes, torch.full((len(planes),), turn))
                total += sum((torch.sigmoid(network(turned)) for network in self.networks), torch.zeros(()))
            found.append(total / (8 * len(self.networks)))
        return torch.cat(found).double().numpy() if found else np.empty((0, len(self.tree.columns)))


def train_readers(
    datasets: Sequence[Dataset], folder: Path, settings: ReaderSettings, *, pixels: Path, seed: int = 0
) -> Readers:
    """Train the ensemble, or read it where it was trained before; an interrupted training goes on.

    Args:
        datasets: real galaxies; `train` is learned from, `val` watched.
        folder: one run folder per reader, `reader-0`, `reader-1`, ...
        settings: how.
        pixels: folder for the flat files of pixels.
        seed: of the first reader; the next ones count on.

    Raises:
        InputError: the datasets do not fit, a folder holds a reader of other data or settings, or it was interrupted.
    """
    inputs = tuple(f"{data.survey}:{data.info.inputs}" for data in datasets)
    folder.mkdir(parents=True, exist_ok=True)
    pool = GalaxyPool(datasets, "train", settings.data, pixels)
    held_out = GalaxyPool(datasets, "val", settings.data, pixels)
    networks = []
    for member in range(settings.readers):
        run = Run.open(
            folder / f"reader-{member}", ReaderIdentity(settings=settings, seed=seed + member, datasets=inputs)
        )
        networks.append(train_reader(pool, held_out, pool.tree, run, settings, seed=seed + member))
    return Readers(tuple(networks), pool.tree)


def train_reader(
    data: Labelled, held_out: Labelled, tree: DecisionTree, run: Run, settings: ReaderSettings, *, seed: int
) -> ReaderNetwork:
    """Train one reader in a run folder, or read it from there if that was done before."""
    from safetensors.torch import load_file

    torch.manual_seed(seed)
    network = ReaderNetwork(len(tree.columns), settings.widths)
    if run.summary is None:
        how = settings.fit.model_copy(update={"seed": seed})
        summary = fit(ReaderTask(network, tree, held_out), data, how, run, Budget(images=settings.images))
        if not summary["done"]:
            raise InputError(f"{run.folder}: the training was interrupted; the same command goes on")
        run.finish(summary)
    last = checkpoint.latest(run.folder)
    assert last is not None  # fit always leaves one
    network.load_state_dict(load_file(last / "average.safetensors"))
    normalise_weights(network)  # an average of unit vectors is shorter than one
    return network.eval()
