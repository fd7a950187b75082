"""What the network is told: a batch of morphologies as tensors, and the random masking that makes guidance valid.

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
