"""What to generate so that a ranker learns a rare feature, and nothing else.

In: a prompt, understood by a generator, and how often the generator saw each answer (`ModelRecord.evidence`). Out: the
`SearchTarget`: the target and its hard negatives, all as morphologies, and what training has seen of it.

    target    what is looked for                                   positive
    without   the same type without its rarest feature             negative
    elsewhere the rare feature on the commonest other type         negative
    mix       galaxies of the survey as they come                  negative
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from galaxysd.catalog.catalog import Catalog
from galaxysd.catalog.selection import withhold
from galaxysd.catalog.tree import DecisionTree, Question
from galaxysd.diffusion.data import DataSettings, believed
from galaxysd.diffusion.pipeline import GalaxyPipeline
from galaxysd.errors import InputError
from galaxysd.prompts.morphology import Morphology
from galaxysd.settings import FrozenModel

KindName = Literal["target", "no_feature", "other_host", "background"]

THIN = 10  # training galaxies with a combination from which it counts as seen


class Kind(FrozenModel):
    """One kind of galaxy to generate."""

    name: KindName
    morphology: Morphology
    caption: str = Field(description="the same in words")


class SearchTarget(FrozenModel):
    """The target, its hard negatives, and what the generator knows of them."""

    target: Kind
    hard_negatives: tuple[Kind, ...]
    rarest: str = Field(description="answer column of the target that training galaxies show least often")
    evidence: dict[str, int] = Field(description="training galaxies with each answer asked for")

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Target first."""
        return (self.target, *self.hard_negatives)


class Seen(FrozenModel):
    """How much of a target's combination of answers labelled training galaxies show."""

    galaxies: int = Field(ge=0, description="training galaxies with every answer of the target")
    nearest: tuple[str, ...] = Field(description="answers of the largest part of the target that was seen")
    nearest_galaxies: int = Field(ge=0, description="training galaxies with that part")


def make_target(pipeline: GalaxyPipeline, prompt: str | Morphology, *, survey: str | None = None) -> SearchTarget:
    """The target of a prompt and its hard negatives.

    Args:
        pipeline: the generator that is to generate them.
        prompt: what is looked for; it must ask for some answer.
        survey: survey token of the galaxies that are searched, for a prompt that names none.

    Raises:
        InputError: the prompt is not understood, asks for nothing, or the survey is not one of the generator's.
    """
    tree, evidence = pipeline.record.tree, pipeline.record.evidence
    target = pipeline.understand(prompt)
    if target.survey is None and survey in pipeline.denoiser.surveys:
        target = target.model_copy(update={"survey": survey})
    asked = [column for column, value in target.fractions.items() if value > 0.5]
    if not asked:
        raise InputError(
            f"target {str(prompt)!r}: names no answer to look for; write e.g. 'early-type galaxy, dust lane'"
        )
    rarest = min(asked, key=lambda column: evidence.get(column, 0))
    near = {
        "no_feature": without_feature(target, rarest, tree, evidence),
        "other_host": on_common_type(target, rarest, tree, evidence),
        "background": Morphology(survey=target.survey),
    }
    return SearchTarget(
        target=Kind(name="target", morphology=target, caption=pipeline.caption(target)),
        hard_negatives=tuple(
            Kind.parse({"name": name, "morphology": one, "caption": pipeline.caption(one)}, "hard negative")
            for name, one in near.items()
            if one is not None
        ),
        rarest=rarest,
        evidence={column: evidence.get(column, 0) for column in asked},
    )


def without_feature(
    target: Morphology, rarest: str, tree: DecisionTree, evidence: Mapping[str, int]
) -> Morphology | None:
    """The target without its rarest answer.

    There are two ways not to have a feature: to give another answer to its question ("no bar"), or never to come to the
    question ("nothing odd", so no dust lane). The commoner one by `evidence` is taken; where it is the second, the
    question is left open, since that is how the generator knows such galaxies. A target that names nothing else gets
    the commonest other answer: with its question open it would be the survey's mix. None: there is no other answer.
    """
    question = tree.question_of[rarest]
    others = {column: evidence.get(column, 0) for column in question.columns if column != rarest}
    parents = [tree.question_of[column] for column in question.after]
    stated = any(set(parent.columns) & set(target.fractions) for parent in parents)
    away = [column for parent in parents for column in parent.columns if column not in question.after]
    left = target.without(question)
    rather_left_open = not stated and sum(others.values()) < sum(evidence.get(column, 0) for column in away)
    if left.fractions and (rather_left_open or not others):
        return left
    return _told(left, question, max(others, key=lambda column: others[column])) if others else None


def on_common_type(
    target: Morphology, rarest: str, tree: DecisionTree, evidence: Mapping[str, int]
) -> Morphology | None:
    """The rarest answer of the target on the commonest other type, or None where the target names no type.

    The type is what the rest of the target says. It is denied at the first question on the way to it that is not also
    on the way to the rare feature: an "in-between round galaxy, dust lane" becomes a featured one with a dust lane.
    """
    question = tree.question_of[rarest]
    kept = {*tree.ancestors(question.key), rarest}
    shared = {question.key, *(tree.question_of[column].key for column in kept)}
    moved = Morphology(
        survey=target.survey,
        fractions={column: target.fractions[column] for column in question.columns},
        weights={column: value for column, value in target.weights.items() if column in question.columns},
    )
    denied = False
    for key in target.known(tree):
        way = [tree.question_of[column] for column in reversed(tree.ancestors(key))]
        first = next((one for one in (*way, tree.by_key[key]) if one.key not in shared), None)
        if first is None or first.columns[0] in moved.fractions:
            continue
        mine = {column for column in first.columns if target.fractions.get(column, 0.0) > 0.5} | set(
            tree.ancestors(key)
        )
        others = [column for column in first.columns if column not in mine]
        if others:
            moved = _told(moved, first, max(others, key=lambda column: evidence.get(column, 0)))
            denied = True
    return moved if denied else None


def combination_seen(target: Morphology, catalogs: Sequence[Catalog], settings: DataSettings) -> Seen:
    """How many labelled training galaxies show the target's combination, or the largest part of it.

    Args:
        target: what is looked for.
        catalogs: labelled galaxies the generator may have learned from; those of split `train` count.
        settings: which of them its training left out, and which votes it believed.

    Returns:
        Counts; answers that a catalogue does not know are met by none of its galaxies.
    """
    asked = [column for column, value in target.fractions.items() if value > 0.5]
    rows = []
    for catalog in catalogs:
        learned, _ = withhold(catalog, settings.withhold)
        learned = learned.filter(learned.frame["split"] == "train")
        trusted = dict(zip(learned.tree.by_key, believed(learned, settings).T, strict=True))
        met = np.zeros((len(learned), len(asked)), bool)
        for place, column in enumerate(asked):
            if column in learned.tree.question_of:
                says = (learned.frame[column] > 0.5).fill_null(False).to_numpy()
                met[:, place] = says & trusted[learned.tree.question_of[column].key]
        rows.append(met)
    shown = np.concatenate(rows) if rows else np.zeros((0, len(asked)), bool)
    counted = {
        part: int(shown[:, list(part)].all(axis=1).sum())
        for size in range(1, len(asked) + 1)
        for part in itertools.combinations(range(len(asked)), size)
    }
    best = max(
        counted, key=lambda part: (counted[part] >= THIN, len(part) if counted[part] >= THIN else 0, counted[part])
    )
    return Seen(
        galaxies=counted[tuple(range(len(asked)))],
        nearest=tuple(asked[place] for place in best),
        nearest_galaxies=counted[best],
    )


def warnings_of(search_target: SearchTarget, seen: Seen | None, phrases: Mapping[str, str]) -> list[str]:
    """What the user must know about a target that training shows rarely or never.

    Args:
        search_target: the target with its evidence.
        seen: of `combination_seen`, where labelled training galaxies are at hand.
        phrases: answer column -> words.
    """
    found = []
    for column, count in search_target.evidence.items():
        if count < THIN:
            found.append(
                f"the generator saw {count} training galaxies with {phrases[column]!r}: what it dreams of it is a guess"
            )
    if seen is not None and seen.galaxies < THIN and len(search_target.evidence) > 1:
        number = "never" if seen.galaxies == 0 else f"only {seen.galaxies} times"
        nearest = ", ".join(phrases[column] for column in seen.nearest)
        found.append(
            f"the target {search_target.target.caption!r} was {number} seen in training: the dreams extrapolate; "
            f"nearest seen combination: {nearest} ({seen.nearest_galaxies:,} galaxies)"
        )
    return found


def _told(morphology: Morphology, question: Question, answer: str) -> Morphology:
    """The morphology with one question answered."""
    fractions = {column: float(column == answer) for column in question.columns}
    return morphology.model_copy(update={"fractions": {**morphology.fractions, **fractions}})
