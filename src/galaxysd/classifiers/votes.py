"""A classifier that predicts how people vote: for every question of a tree, the distribution of its vote fractions.

In: dataset folders. Out: a network that gives a Dirichlet distribution per question (losses.py), trained on the counted
votes where a survey tells them and on the fractions where it does not. A question that few people reached counts
little by itself, so no cut on votes is needed (Walmsley et al. 2022, arXiv 2102.08414).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from galaxysd.catalog.tree import DecisionTree
from galaxysd.classifiers import losses
from galaxysd.classifiers.checkpoint import TrainedNetwork
from galaxysd.classifiers.transforms import turned
from galaxysd.data.dataset import Dataset
from galaxysd.diffusion.data import DataSettings, GalaxyPool
from galaxysd.training.ema import swapped
from galaxysd.training.fit import Batch
from galaxysd.types import Floats, Pixels

Likelihood = Literal["dirichlet-multinomial", "beta-binomial"]

WATCHED = 512  # held-out galaxies at a snapshot


class VotePool:
    """One split of several datasets with fractions and vote counts (protocol `Data` of training/fit.py).

    Attributes:
        pool: the galaxies, with fractions and the questions that are known.
        votes: [N, Q], NaN where a survey tells no counts.
    """

    def __init__(self, datasets: Sequence[Dataset], split: str, folder: Path, *, limit: int | None = None) -> None:
        """As `GalaxyPool`, without a cut on votes."""
        self.pool = GalaxyPool(datasets, split, DataSettings(min_votes=1), folder, limit=limit)
        row = {name: index for index, name in enumerate(self.pool.ids)}
        place = {question.key: index for index, question in enumerate(self.pool.tree.questions)}
        self.votes = np.full((len(self.pool), len(place)), np.nan, np.float32)
        for dataset in datasets:
            names = [row.get(f"{dataset.survey}:{name}", -1) for name in dataset.ids()]
            here = np.array(names) >= 0
            columns = np.array([place[question.key] for question in dataset.tree.questions])
            self.votes[np.ix_(np.array(names)[here], columns)] = dataset.catalog.votes()[here]

    def __len__(self) -> int:
        return len(self.pool)

    def take(self, indices: npt.NDArray[np.int64]) -> Batch:
        """Some galaxies: `images`, `fractions` [B, A], `known` [B, Q], `votes` [B, Q]."""
        condition = self.pool.condition(indices)
        return {
            "images": self.pool.images(indices),
            "fractions": condition.fractions,
            "known": condition.known,
            "votes": torch.from_numpy(self.votes[indices]),
        }

    def batch(self, size: int, generator: torch.Generator) -> Batch:
        """Random galaxies, all alike, in random orientation."""
        found = self.take(torch.randint(len(self), (size,), generator=generator).numpy())
        return {**found, "images": turned(found["images"], generator)}


def question_losses(outputs: Tensor, batch: Batch, tree: DecisionTree, likelihood: Likelihood) -> Tensor:
    """Negative log-likelihood per galaxy and question [B, Q], 0 where a question is not known."""
    counted = torch.isfinite(batch["votes"])
    votes = torch.where(counted, batch["votes"], 0.0)
    concentration = losses.concentrations(outputs)
    joint = losses.dirichlet_multinomial if likelihood == "dirichlet-multinomial" else losses.beta_binomial
    found = []
    for index, place in enumerate(tree.slices):
        share, fractions = concentration[:, place], batch["fractions"][:, place]
        likely = joint(share, fractions * votes[:, index, None])
        found.append(torch.where(counted[:, index], likely, losses.expected_fractions(share, fractions)))
    return torch.stack(found, dim=1) * batch["known"]


class VoteTask:
    """Learn the votes (protocol `Task` of training/fit.py)."""

    def __init__(self, network: nn.Module, tree: DecisionTree, likelihood: Likelihood, held_out: VotePool) -> None:
        """Args: network: an output per answer. tree: the questions. likelihood: of counts. held_out: to watch."""
        self.model, self.tree, self.likelihood = network, tree, likelihood
        indices = np.linspace(0, len(held_out) - 1, min(WATCHED, len(held_out))).astype(np.int64)
        self.held_out = held_out.take(indices)

    def prepare(self, batch: Batch, generator: torch.Generator, progress: float) -> Batch:
        """The batch as it is."""
        return batch

    def loss(
        self, model: nn.Module, batch: Batch, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        """Mean over the galaxies of the sum over their questions."""
        device = next(model.parameters()).device
        moved = {name: value.to(device) for name, value in batch.items()}
        return question_losses(model(moved["images"]), moved, self.tree, self.likelihood).sum(dim=1).mean(), {}

    @torch.no_grad()
    def snapshot(self, weights: dict[str, Tensor], folder: Path, images_seen: int) -> dict[str, float]:
        """The loss of the averaged weights on held-out galaxies."""
        device = next(self.model.parameters()).device
        with swapped(self.model, weights):
            self.model.eval()
            outputs = torch.cat(
                [self.model(block.to(device)).cpu() for block in torch.split(self.held_out["images"], 256)]
            )
        self.model.train()
        found = question_losses(outputs, self.held_out, self.tree, self.likelihood).sum(dim=1).mean()
        return {"held_out": round(float(found), 5)}


class VoteClassifier(TrainedNetwork):
    """A trained network of votes; `load` and `save` are those of checkpoint.py."""

    @property
    def tree(self) -> DecisionTree:
        """The questions."""
        assert self.record.tree is not None  # of target votes
        return self.record.tree

    def fractions(self, images: Pixels, orientations: int = 8) -> tuple[Floats, Floats]:
        """What share of the people who reach a question would give each answer.

        Args:
            images: uint8 [N, S, S, 3].
            orientations: turns and flips of each image that the outputs are averaged over, 1 to 8.

        Returns:
            Expected fractions [N, A], and the deviation of the Dirichlet distribution about them [N, A].
        """
        concentration = losses.concentrations(torch.from_numpy(self.outputs(images, orientations))).numpy()
        expected, deviation = np.empty_like(concentration), np.empty_like(concentration)
        for place in self.tree.slices:
            total = concentration[:, place].sum(axis=1, keepdims=True)
            expected[:, place] = concentration[:, place] / total
            deviation[:, place] = np.sqrt(expected[:, place] * (1 - expected[:, place]) / (total + 1))
        return expected, deviation


def fraction_errors(
    classifier: VoteClassifier, held_out: VotePool, *, least_votes: float = 10
) -> dict[str, dict[str, float]]:
    """Root mean square error of the expected fractions, question by question, where enough people answered.

    Returns:
        By question: `error`, `constant` (that of predicting the mean fraction of these galaxies) and `n` galaxies;
        questions with fewer than 10 such galaxies are left out.
    """
    parts = [held_out.take(block) for block in np.split(np.arange(len(held_out)), range(256, len(held_out), 256))]
    read = np.concatenate([classifier.fractions(part["images"].permute(0, 2, 3, 1).numpy())[0] for part in parts])
    true = np.concatenate([part["fractions"].numpy() for part in parts])
    sure = np.concatenate([part["known"].numpy() for part in parts]) & ~(held_out.votes < least_votes)
    found = {}
    for index, (question, place) in enumerate(zip(classifier.tree.questions, classifier.tree.slices, strict=True)):
        rows = sure[:, index]
        if rows.sum() >= 10:
            told = true[rows, place]
            found[question.key] = {
                "error": round(float(np.sqrt(np.square(read[rows, place] - told).mean())), 4),
                "constant": round(float(np.sqrt(np.square(told.mean(axis=0) - told).mean())), 4),
                "n": int(rows.sum()),
            }
    return found
