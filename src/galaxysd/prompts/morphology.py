"""The one condition type: what is asked of a galaxy, question by question.

In: a row of vote fractions, a parsed prompt, or values by hand. Out: the fraction of each answer of each known
question, a weight where an answer is to count more or less, and the vectors a model is conditioned on.
"""

import math
from collections.abc import Mapping
from numbers import Real
from typing import Annotated, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from galaxysd.catalog.tree import DecisionTree, Question
from galaxysd.errors import InputError
from galaxysd.settings import Settings

MAX_WEIGHT = 5.0
MIN_ROUNDED_WEIGHT = 0.01

Fraction = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Weight = Annotated[float, Field(gt=0.0, le=MAX_WEIGHT, allow_inf_nan=False)]


class Morphology(Settings):
    """A galaxy as the answers to a decision tree's questions.

    A question is known when its answers are in `fractions`, and then all of them are; a question that is not there is
    unknown, which is not the same as fraction 0. The fractions of a question need not sum to 1 (debiased votes do not,
    and EFIGI's attributes are strengths, not shares).
    """

    survey: str | None = Field(default=None, description="survey or framing token; null: any")
    fractions: dict[str, Fraction] = Field(
        default={}, description="answer column -> fraction among those who reached the question, in [0, 1]"
    )
    weights: dict[str, Weight] = Field(
        default={}, description="answer column -> emphasis in (0, 5]; only where it is not 1"
    )

    @field_validator("weights")
    @classmethod
    def _only_unequal_one(cls, weights: dict[str, float]) -> dict[str, float]:
        return {column: weight for column, weight in weights.items() if weight != 1.0}

    @model_validator(mode="after")
    def _weights_have_fractions(self) -> Self:
        loose = [column for column in self.weights if column not in self.fractions]
        if loose:
            raise ValueError(f"weights of answers without a fraction: {', '.join(loose)}")
        return self

    def __hash__(self) -> int:
        return hash((self.survey, frozenset(self.fractions.items()), frozenset(self.weights.items())))

    @classmethod
    def from_row(cls, row: Mapping[str, float | None], tree: DecisionTree, survey: str | None = None) -> Self:
        """The morphology of one catalogue row.

        Args:
            row: answer columns and any others; null or absent means that nobody was asked.
            tree: the questions to read.
            survey: survey token of the row.

        Raises:
            InputError: a fraction is outside [0, 1], or a question has only some of its answers.
        """
        fractions: dict[str, float] = {}
        for question in tree.questions:
            values = {column: value for column in question.columns if (value := row.get(column)) is not None}
            if values and len(values) < len(question.columns):
                missing = [column for column in question.columns if column not in values]
                raise InputError(
                    f"row {row.get('id', '?')}: question {question.key} lacks {', '.join(missing)}; "
                    "give a fraction for all of its answers or for none"
                )
            fractions.update(values)
        return cls.parse({"survey": survey, "fractions": fractions}, f"row {row.get('id', '?')}")

    def check(self, tree: DecisionTree) -> None:
        """Make sure that this morphology speaks the language of `tree`.

        Raises:
            InputError: an answer is not in the tree, or a question has only some of its answers.
        """
        for column in self.fractions:
            if column not in tree.question_of:
                raise InputError(f"morphology: {column!r} is not an answer of tree {tree.name!r}")
        for question in tree.questions:
            missing = [column for column in question.columns if column not in self.fractions]
            if 0 < len(missing) < len(question.columns):
                raise InputError(f"morphology: question {question.key!r} lacks {', '.join(missing)}")

    def known(self, tree: DecisionTree) -> tuple[str, ...]:
        """Keys of the known questions, in tree order."""
        return tuple(question.key for question in tree.questions if question.columns[0] in self.fractions)

    def asked(self, tree: DecisionTree) -> tuple[str, ...]:
        """The answers this morphology asks for, in tree order: the largest of each known question, or all of equals.

        A question whose fractions are all 0 asks for nothing.

        Raises:
            InputError: as `check`.

        Example:
            >>> tree = DecisionTree.load("gz2")
            >>> Morphology(fractions={"t03_bar_a06_bar": 0.8, "t03_bar_a07_no_bar": 0.2}).asked(tree)
            ('t03_bar_a06_bar',)
        """
        self.check(tree)
        found: list[str] = []
        for key in self.known(tree):
            columns = tree.by_key[key].columns
            largest = max(self.fractions[column] for column in columns)
            found.extend(column for column in columns if largest > 0.0 and self.fractions[column] == largest)
        return tuple(found)

    def vector(self, tree: DecisionTree) -> tuple[np.ndarray, np.ndarray]:
        """What a model is conditioned on, in tree order.

        Returns:
            float32 fractions [A], 0 where unknown, and bool known [Q].

        Raises:
            InputError: as `check`.
        """
        self.check(tree)
        fractions = np.array([self.fractions.get(column, 0.0) for column in tree.columns], dtype=np.float32)
        known = np.array([question.columns[0] in self.fractions for question in tree.questions], dtype=bool)
        return fractions, known

    def weighted_questions(self, tree: DecisionTree) -> dict[str, float]:
        """Weight of each question that carries one, in tree order.

        Of several weighted answers to one question the weight furthest from 1 (as a ratio) stands for the question.
        """
        found: dict[str, float] = {}
        for question in tree.questions:
            weights = [self.weights[column] for column in question.columns if column in self.weights]
            if weights:
                found[question.key] = furthest_from_one(weights)
        return found

    def without(self, question: Question) -> Self:
        """The same morphology with `question` unknown."""
        return self._of(
            {column: value for column, value in self.fractions.items() if column not in question.columns},
            {column: value for column, value in self.weights.items() if column not in question.columns},
        )

    def rounded(self, tree: DecisionTree) -> Self:
        """The part of this morphology that words can say: `parse(caption(m)) == m.rounded(tree)`.

        Each known question becomes one-hot at its largest answer, ties going to the first in tree order. A known
        question whose fractions are all 0 (an EFIGI galaxy with no peculiarity) has no answer to name and becomes
        unknown. Weights stay on the answers named, rounded to 2 decimals and at least 0.01.

        Raises:
            InputError: as `check`.
        """
        self.check(tree)
        fractions: dict[str, float] = {}
        weights: dict[str, float] = {}
        for key in self.known(tree):
            columns = tree.by_key[key].columns
            largest = max(columns, key=self.fractions.__getitem__)
            if self.fractions[largest] == 0.0:
                continue
            fractions.update({column: float(column == largest) for column in columns})
            if largest in self.weights:
                weights[largest] = max(round(self.weights[largest], 2), MIN_ROUNDED_WEIGHT)
        return self._of(fractions, weights)

    def blend(self, other: "Morphology", amount: float) -> Self:
        """A morphology on the straight line from this one (`amount` 0) to `other` (`amount` 1).

        Fractions and weights of questions known in both are interpolated linearly. A question known in only one of the
        two is kept from that one at every `amount`, so the ends equal the two morphologies only where both know the
        same questions. The survey is that of the nearer end (this one's at exactly the middle).

        Raises:
            InputError: `other` is no morphology, or `amount` is no number in [0, 1].
        """
        if not isinstance(other, Morphology):
            raise InputError(f"blend: expected a Morphology to go to, not a {type(other).__name__}")
        if not isinstance(amount, Real):
            raise InputError(f"blend: amount must be a number in [0, 1], not a {type(amount).__name__}")
        if not 0.0 <= amount <= 1.0:
            raise InputError(f"blend: amount {amount} is outside [0, 1]")
        fractions = dict(self.fractions)
        weights = dict(self.weights)
        for column, theirs in other.fractions.items():
            mine = fractions.get(column)
            if mine is None:
                fractions[column] = theirs
                weights[column] = other.weights.get(column, 1.0)
                continue
            fractions[column] = _between(mine, theirs, amount)
            weights[column] = _between(self.weights.get(column, 1.0), other.weights.get(column, 1.0), amount)
        survey = self.survey if amount <= 0.5 else other.survey
        return type(self)(survey=survey, fractions=fractions, weights=weights)

    def _of(self, fractions: dict[str, float], weights: dict[str, float]) -> Self:
        return type(self)(survey=self.survey, fractions=fractions, weights=weights)


def furthest_from_one(weights: list[float]) -> float:
    """The weight with the largest ratio to 1, up or down; the first of equals."""
    return max(weights, key=lambda weight: abs(math.log(weight)))


def _between(start: float, end: float, amount: float) -> float:
    """Linear interpolation that is exact at both ends and never leaves them by a rounding error."""
    value = (1.0 - amount) * start + amount * end
    return min(max(value, min(start, end)), max(start, end))
