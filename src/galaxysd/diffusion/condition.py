"""What the network is told: morphologies as tensors, and how training words and hides them so that prompts work.

In: `Morphology` objects, or arrays of a catalogue. Out: `Condition`, whose unknown questions carry zeros and a mask.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from galaxysd.catalog.tree import DecisionTree
from galaxysd.errors import InputError
from galaxysd.prompts.morphology import Morphology


@dataclass(frozen=True)
class Condition:
    """A batch of conditions.

    Attributes:
        fractions: [B, A] float32, conditional answer fractions, 0 where unknown.
        known: [B, Q] bool.
        survey: [B] int64 index of the survey token; the number of tokens means unknown.
    """

    fractions: Tensor
    known: Tensor
    survey: Tensor

    def masked(self, keep: Tensor, answers_of: Tensor) -> "Condition":
        """Forget the questions where `keep` [B, Q] is false; `answers_of` [A] is the question index of each answer."""
        known = self.known & keep
        return Condition(self.fractions * known[:, answers_of], known, self.survey)

    def unconditional(self) -> "Condition":
        """Nothing known but the survey: the direction that guidance steers away from."""
        return Condition(torch.zeros_like(self.fractions), torch.zeros_like(self.known), self.survey)

    def joined(self, other: "Condition") -> "Condition":
        """The galaxies of this batch, then those of another."""
        pairs = ((self.fractions, other.fractions), (self.known, other.known), (self.survey, other.survey))
        return Condition(*(torch.cat(pair) for pair in pairs))

    def __getitem__(self, rows: slice) -> "Condition":
        """Some galaxies of the batch."""
        return Condition(self.fractions[rows], self.known[rows], self.survey[rows])

    def to(self, device: torch.device) -> "Condition":
        """The same on another device."""
        return Condition(self.fractions.to(device), self.known.to(device), self.survey.to(device))


def answers_of(tree: DecisionTree) -> Tensor:
    """[A] index of the question that each answer belongs to."""
    return torch.tensor([index for index, question in enumerate(tree.questions) for _ in question.answers])


def encode(morphologies: Sequence[Morphology], tree: DecisionTree, surveys: Sequence[str]) -> Condition:
    """Morphologies -> condition batch.

    Raises:
        InputError: a survey token or an answer that the model does not know.
    """
    for morphology in morphologies:
        if morphology.survey is not None and morphology.survey not in surveys:
            raise InputError(f"survey {morphology.survey!r} is not known to this model; it knows: {', '.join(surveys)}")
    vectors = [morphology.vector(tree) for morphology in morphologies]
    indices = [len(surveys) if m.survey is None else surveys.index(m.survey) for m in morphologies]
    return Condition(
        fractions=torch.from_numpy(np.stack([fractions for fractions, _ in vectors])),
        known=torch.from_numpy(np.stack([known for _, known in vectors])),
        survey=torch.tensor(indices),
    )


def as_told(
    condition: Condition, answers: Tensor, generator: torch.Generator, *, rounded: float, votes: int
) -> Condition:
    """Say the fractions in other words, as in training.

    Exact fractions name a galaxy: a network that sees them again and again learns which picture belongs to which row
    of the catalogue, and does not know what to do with a prompt, which says yes or no. So a share `rounded` of the
    galaxies is told as words would tell it (`Morphology.rounded`: the largest answer of each question, nothing where
    no answer has any), and for the others the votes are cast anew: Gaussian noise of variance p (1 - p) / `votes`.

    Args:
        condition: what is known.
        answers: [A] index of the question of each answer.
        generator: of the random draws.
        rounded: share of galaxies told in words.
        votes: so many votes are cast anew.
    """
    fractions, (batch, questions) = condition.fractions, condition.known.shape
    noise = torch.randn(fractions.shape, generator=generator)
    recast = (fractions + noise * (fractions * (1 - fractions) / votes).sqrt()).clamp(0, 1)
    earlier_first = fractions - 1e-6 * torch.arange(len(answers))  # of equal answers the first one counts
    largest = torch.full((batch, questions), -1.0).scatter_reduce(1, answers.expand(batch, -1), earlier_first, "amax")
    worded = (earlier_first == largest[:, answers]) & (fractions > 0)
    said = torch.zeros(batch, questions).scatter_reduce(1, answers.expand(batch, -1), worded.float(), "amax") > 0
    chosen = torch.rand(batch, 1, generator=generator) < rounded
    known = torch.where(chosen, condition.known & said, condition.known)
    told = torch.where(chosen, worded.to(fractions.dtype), recast) * known[:, answers]
    return Condition(told, known, condition.survey)


def random_mask(
    condition: Condition,
    answers: Tensor,
    generator: torch.Generator,
    *,
    drop_all: float,
    keep_all: float,
    drop_survey: float,
    unknown_survey: int,
) -> Condition:
    """Hide questions at random, as in training.

    A share `drop_all` of the galaxies loses every question (the unconditional branch of classifier-free guidance, Ho
    and Salimans 2022), a share `keep_all` keeps all it has, and every other one keeps each question with a probability
    drawn for that galaxy, so that prompts of every length have been seen. The survey is hidden independently.
    """
    batch, questions = condition.known.shape
    share = torch.rand(batch, 1, generator=generator)
    keep = torch.rand(batch, questions, generator=generator) < share
    lot = torch.rand(batch, 1, generator=generator)
    keep = (keep | (lot >= 1 - keep_all)) & (lot >= drop_all)
    masked = condition.masked(keep, answers)
    hidden = torch.rand(batch, generator=generator) < drop_survey
    return Condition(masked.fractions, masked.known, torch.where(hidden, unknown_survey, masked.survey))
