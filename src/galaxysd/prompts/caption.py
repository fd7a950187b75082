"""From votes to words.

In: a `Morphology` and a `Vocabulary`. Out: a caption such as "sdss, features or disk-shaped, disk not edge-on, no bar".

The one rule: the survey token, then one phrase for each known question in asking order - the canonical phrase of the
answer with the largest fraction, the first in tree order of equals - and `{phrase:1.3}` where that answer carries a
weight. Negative answers are said like all others. `parse` is the exact inverse: `parse(caption(m)) == m.rounded(tree)`.
Training captions say less: `caption_row` leaves out what the volunteers were not sure of.
"""

from collections.abc import Sequence

from galaxysd.catalog.tree import DecisionTree
from galaxysd.errors import InputError
from galaxysd.prompts.morphology import Morphology
from galaxysd.prompts.vocabulary import Vocabulary

REACHED = 0.5


def caption(morphology: Morphology, vocabulary: Vocabulary, *, order: Sequence[str] | None = None) -> str:
    """Say a morphology in the canonical phrases; a morphology that knows nothing gives "" or the survey token alone.

    Args:
        morphology: what to say.
        vocabulary: the words.
        order: all question keys in the order to say them (training shuffles them); None: asking order.

    Raises:
        InputError: the morphology does not fit the tree, its survey is not in the vocabulary, or `order` is not a
            permutation of the question keys.
    """
    tree = vocabulary.tree
    rounded = morphology.rounded(tree)
    if rounded.survey is not None and rounded.survey not in vocabulary.surveys:
        known = ", ".join(vocabulary.surveys) or "none"
        raise InputError(f"survey {rounded.survey!r} is not known here; known: {known}")
    keys = asking_order(tree) if order is None else tuple(order)
    if sorted(keys) != sorted(tree.by_key):
        raise InputError(f"caption order: expected each question of tree {tree.name!r} once, found {', '.join(keys)}")
    parts = [] if rounded.survey is None else [rounded.survey]
    for key in keys:
        for column in tree.by_key[key].columns:
            if rounded.fractions.get(column) == 1.0:  # the one answer that rounding left
                weight = rounded.weights.get(column)
                phrase = vocabulary.phrase(column)
                parts.append(phrase if weight is None else f"{{{phrase}:{weight:g}}}")
    return ", ".join(parts)


def caption_row(
    morphology: Morphology, vocabulary: Vocabulary, *, threshold: float = 0.5, order: Sequence[str] | None = None
) -> str:
    """The caption of a galaxy as voted: `caption` of what `confident` leaves.

    Raises:
        InputError: as `caption`.
    """
    return caption(confident(morphology, vocabulary.tree, threshold), vocabulary, order=order)


def confident(morphology: Morphology, tree: DecisionTree, threshold: float = 0.5) -> Morphology:
    """Only the questions that most volunteers reached and agreed on.

    A question stays when its largest fraction is at least `threshold` and it was reached: on some way from a question
    asked of everyone, every answer leading here has a fraction of at least 0.5.

    Raises:
        InputError: the morphology does not fit the tree.
    """
    morphology.check(tree)
    doubtful = []
    for key in morphology.known(tree):
        question = tree.by_key[key]
        sure = max(morphology.fractions[column] for column in question.columns) >= threshold
        if not sure or not _reached(key, morphology.fractions, tree):
            doubtful.append(question)
    for question in doubtful:
        morphology = morphology.without(question)
    return morphology


def _reached(key: str, fractions: dict[str, float], tree: DecisionTree) -> bool:
    """Whether most volunteers came to question `key`."""
    after = tree.by_key[key].after
    return not after or any(
        fractions.get(column, 0.0) >= REACHED and _reached(tree.question_of[column].key, fractions, tree)
        for column in after
    )


def asking_order(tree: DecisionTree) -> tuple[str, ...]:
    """Question keys as they are asked: each question, then those its answers lead to, depth first in tree order."""
    order: dict[str, None] = {}

    def ask(key: str) -> None:
        if key in order:
            return
        order[key] = None
        for question in tree.questions:
            if set(question.after) & set(tree.by_key[key].columns):
                ask(question.key)

    for question in tree.questions:
        if not question.after:
            ask(question.key)
    return tuple(order)
