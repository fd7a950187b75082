"""Which survey, and so which frame, a prompt without one is drawn in.

In: a morphology, and how many training galaxies of each survey have each answer. Out: a survey and why it was chosen.

A model knows a spiral only in the frames in which it saw spirals, and left to itself it mixes them all. The survey
taken is the one that holds the most of *all* answers asked for: by the number of them it holds at all, then by the
harmonic mean n / sum(1 / count) of their counts, which the rarest answer rules, because one galaxy has to have them
all. Where the number of galaxies of each survey is told (under `all`), the mean is taken relative to it: a survey in
which every second galaxy is a spiral shows spirals better than a larger one of small round galaxies. Of equals the
first is taken. Where nothing is asked for, or no survey has any of it, that is the largest survey.
"""

from collections.abc import Mapping
from typing import NamedTuple

from galaxysd.errors import InputError
from galaxysd.prompts.morphology import Morphology
from galaxysd.prompts.vocabulary import Vocabulary

Evidence = Mapping[str, Mapping[str, int]]
"""Survey token -> answer column -> training galaxies with that answer above 0.5; none where a column is left out."""


ALL = "all"  # beside the answer columns: all training galaxies of the survey


class Picked(NamedTuple):
    """A survey and why it was taken.

    Attributes:
        survey: the token; None where there is no evidence to pick by.
        reason: one line in plain English; "" where nothing was picked, as for a morphology with a survey.
    """

    survey: str | None
    reason: str


def pick_survey(morphology: Morphology, evidence: Evidence, vocabulary: Vocabulary) -> Picked:
    """The survey that shows best what is asked for.

    A morphology that names its survey keeps it. What counts as asked for is the largest answer of each known question,
    or all of equals (`Morphology.asked`); weights do not matter.

    Args:
        morphology: what is asked for.
        evidence: per survey, training galaxies with each answer.
        vocabulary: the tree, the surveys that may be picked, and the words of the reason.

    Raises:
        InputError: the morphology does not fit the tree, or the evidence is of a survey that the vocabulary lacks.

    Example:
        >>> from galaxysd.catalog.tree import DecisionTree
        >>> from galaxysd.prompts import parse
        >>> words = Vocabulary.load(DecisionTree.load("gz2"), ["sdss", "sdss-r90"])
        >>> seen = {"sdss": {"t04_spiral_a08_spiral": 904}, "sdss-r90": {"t04_spiral_a08_spiral": 1372}}
        >>> pick_survey(parse("spiral galaxy", words), seen, words)
        Picked(survey='sdss-r90', reason="frame sdss-r90: 1,372 training galaxies there for 'spiral galaxy'")
    """
    tree = vocabulary.tree
    foreign = [survey for survey in evidence if survey not in vocabulary.surveys]
    if foreign:
        known = ", ".join(vocabulary.surveys) or "none"
        raise InputError(f"evidence of survey {foreign[0]!r}, which is not known here; known: {known}")
    asked = morphology.asked(tree)
    if morphology.survey is not None or not evidence:
        return Picked(morphology.survey, "")

    held = {survey: [column for column in asked if counts.get(column, 0) > 0] for survey, counts in evidence.items()}
    if not any(held.values()):
        survey = max(evidence, key=lambda survey: _size(evidence[survey], vocabulary))
        reason = f"frame {survey}: the one with most training galaxies"
        return Picked(survey, f"{reason}; none has {_quoted(asked, vocabulary)}" if asked else reason)

    def worth(survey: str) -> tuple[int, float]:
        columns, counts = held[survey], evidence[survey]
        harmonic = len(columns) / sum(1 / counts[column] for column in columns) if columns else 0.0
        return len(columns), harmonic / max(counts.get(ALL, 1), 1)

    survey = max(evidence, key=worth)
    columns, counts = held[survey], evidence[survey]
    if len(columns) < len(asked):
        missing = [column for column in asked if column not in columns]
        return Picked(
            survey, f"frame {survey}: {len(columns)} of {len(asked)} answers there, not {_quoted(missing, vocabulary)}"
        )
    rarest = min(columns, key=lambda column: counts[column])
    noun = "galaxy" if counts[rarest] == 1 else "galaxies"
    reason = f"frame {survey}: {counts[rarest]:,} training {noun} there for {vocabulary.phrase(rarest)!r}"
    return Picked(survey, reason if len(asked) == 1 else f"{reason}, the rarest of {len(asked)} answers")


def _size(counts: Mapping[str, int], vocabulary: Vocabulary) -> int:
    """About how many galaxies a survey has: those with an answer to the question that most of them answered."""
    sums = (sum(counts.get(column, 0) for column in question.columns) for question in vocabulary.tree.questions)
    return counts.get(ALL, max(sums))


def _quoted(columns: tuple[str, ...] | list[str], vocabulary: Vocabulary) -> str:
    """The first few answers by their phrases."""
    said = " or ".join(repr(vocabulary.phrase(column)) for column in columns[:3])
    return said if len(columns) <= 3 else f"{said} or {len(columns) - 3} more"
