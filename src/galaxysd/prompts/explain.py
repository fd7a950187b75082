"""How a prompt is understood, for a person to check before dreaming.

In: a prompt, a `Vocabulary` and, where a model is at hand, how many of its training galaxies had each answer, in all or
survey by survey. Out: an `Explanation` (JSON-able), its rendering as a table, or its remarks alone (`notes`), a line
each. Contradictions are reported, never refused: asking for what no training galaxy was is how a generator
extrapolates.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from galaxysd.catalog.tree import DecisionTree
from galaxysd.prompts.caption import asking_order, caption
from galaxysd.prompts.frame import Evidence, pick_survey
from galaxysd.prompts.morphology import Morphology
from galaxysd.prompts.parse import parse
from galaxysd.prompts.vocabulary import Vocabulary
from galaxysd.settings import Settings

if TYPE_CHECKING:  # rich is slow to import and only `render` needs it
    from rich.console import RenderableType

THIN = 100


class Statement(Settings):
    """One answer that a prompt asks for."""

    question: str = Field(description="question key")
    text: str = Field(description="what the volunteers were asked")
    answer: str = Field(description="answer column")
    phrase: str = Field(description="canonical phrase of the answer")
    fraction: float = Field(description="share asked for, in (0, 1]")
    weight: float = Field(description="emphasis, 1 where none was given")
    seen: int | None = Field(description="training galaxies with this answer above 0.5; null: not known here")


class Explanation(Settings):
    """A prompt as it is understood."""

    prompt: str
    caption: str = Field(description="the prompt in canonical phrases; of shared answers the first only")
    morphology: Morphology
    survey: str | None = Field(description="what the survey token stands for; null where none was given")
    frame: str | None = Field(description="which frame a prompt that names none is drawn in, and why; null: it does")
    statements: tuple[Statement, ...] = Field(description="in asking order")
    contradictions: tuple[str, ...] = Field(description="answers that exclude each other")
    assumed: tuple[str, ...] = Field(description="phrases on the way to an answer that the prompt leaves unsaid")
    thin: tuple[str, ...] = Field(description="answers with few training galaxies")

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know before dreaming, a line each: the frame, contradictions, thin labels."""
        return (
            *(() if self.frame is None else (self.frame,)),
            *(f"contradiction: {note}" for note in self.contradictions),
            *(f"training: {note}" for note in self.thin),
        )


def explain(
    text: str,
    vocabulary: Vocabulary,
    evidence: Mapping[str, int] | None = None,
    frames: Evidence | None = None,
) -> Explanation:
    """Understand a prompt and say what was understood.

    Args:
        text: the prompt.
        vocabulary: the words.
        evidence: answer column -> number of training galaxies with that answer above 0.5; an answer that is not in it
            was never seen. None: the sum over `frames`, or not known, and then nothing is called thin.
        frames: the same, survey by survey; picks the frame of a prompt that names none. None: not known.

    Raises:
        InputError: as `parse` and `pick_survey`.

    Example:
        >>> words = Vocabulary.load(DecisionTree.load("gz2"), ["sdss"])
        >>> explain("sdss, smooth, 2 arms", words).contradictions
        ("'2 spiral arms' is only asked after 'features or disk-shaped', but the prompt says 'smooth'",)
    """
    return _explained(parse(text, vocabulary), vocabulary, evidence, frames, text)


def notes(
    morphology: Morphology,
    vocabulary: Vocabulary,
    evidence: Mapping[str, int] | None = None,
    frames: Evidence | None = None,
) -> tuple[str, ...]:
    """What to know before a morphology is dreamed, a line each: the frame, contradictions, thin labels.

    Args:
        morphology: what is asked for.
        vocabulary: the words.
        evidence: as `explain`.
        frames: as `explain`.

    Returns:
        The lines, none where there is nothing to say.

    Raises:
        InputError: the morphology does not fit the tree, or as `pick_survey`.

    Example:
        >>> words = Vocabulary.load(DecisionTree.load("gz2"), ["sdss", "sdss-r90"])
        >>> notes(parse("sdss, spiral galaxy, 2 arms", words), words, {"t04_spiral_a08_spiral": 904})
        ("training: '2 spiral arms' was never seen in training: extrapolation",)
        >>> notes(parse("spiral galaxy", words), words)
        ('frame not named: any of sdss, sdss-r90',)
    """
    return _explained(morphology, vocabulary, evidence, frames, "").notes


def _explained(
    morphology: Morphology,
    vocabulary: Vocabulary,
    evidence: Mapping[str, int] | None,
    frames: Evidence | None,
    text: str,
) -> Explanation:
    tree = vocabulary.tree
    if evidence is None and frames:
        evidence = {column: sum(counts.get(column, 0) for counts in frames.values()) for column in tree.columns}
    asked = set(morphology.asked(tree))
    statements = tuple(
        Statement(
            question=key,
            text=tree.by_key[key].text,
            answer=column,
            phrase=vocabulary.phrase(column),
            fraction=morphology.fractions[column],
            weight=morphology.weights.get(column, 1.0),
            seen=None if evidence is None else evidence.get(column, 0),
        )
        for key in asking_order(tree)
        for column in tree.by_key[key].columns
        if column in asked
    )
    denied, assumed = _ways(statements, morphology, vocabulary)
    survey, frame = _frame(morphology, vocabulary, frames)
    counts = None if frames is None or survey is None else frames.get(survey)
    return Explanation(
        prompt=text,
        caption=caption(morphology, vocabulary),
        morphology=morphology,
        survey=None
        if morphology.survey is None
        else vocabulary.phrases.surveys.get(morphology.survey, "no description"),
        frame=frame,
        statements=statements,
        contradictions=_shared(statements) + denied,
        assumed=assumed,
        thin=tuple(note for item in statements if (note := _thin(item, survey, counts))),
    )


def _frame(morphology: Morphology, vocabulary: Vocabulary, frames: Evidence | None) -> tuple[str | None, str | None]:
    """The survey of a morphology, named or picked, and the remark on it where it is not named."""
    picked = pick_survey(morphology, frames or {}, vocabulary)
    if morphology.survey is not None or picked.survey is not None:
        return picked.survey, picked.reason or None
    if len(vocabulary.surveys) > 1:
        return None, f"frame not named: any of {', '.join(vocabulary.surveys)}"
    return None, None


def _shared(statements: tuple[Statement, ...]) -> tuple[str, ...]:
    """Questions of which several answers are asked for."""
    notes = []
    for key in dict.fromkeys(statement.question for statement in statements):
        rivals = [statement for statement in statements if statement.question == key]
        if len(rivals) > 1:
            phrases = " + ".join(repr(statement.phrase) for statement in rivals)
            notes.append(f"{phrases}: {len(rivals)} answers to one question, each gets the share 1/{len(rivals)}")
    return tuple(notes)


def _ways(
    statements: tuple[Statement, ...], morphology: Morphology, vocabulary: Vocabulary
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Answers on the way to each statement that the prompt denies (notes), and that it leaves unsaid (phrases)."""
    tree = vocabulary.tree
    denied: dict[str, None] = {}
    assumed: dict[str, None] = {}
    for statement in statements:
        for step in _steps(statement.question, tree):
            asked = [column for column in step if column in morphology.fractions]
            needed = " or ".join(repr(vocabulary.phrase(column)) for column in step)
            if any(morphology.fractions[column] > 0.0 for column in asked):
                continue
            if len(asked) < len(step):
                assumed[" or ".join(vocabulary.phrase(column) for column in step)] = None
                continue
            keys = {tree.question_of[column].key for column in step}
            said = " and ".join(repr(other.phrase) for other in statements if other.question in keys)
            denied[f"{statement.phrase!r} is only asked after {needed}, but the prompt says {said}"] = None
    return tuple(denied), tuple(assumed)


def _steps(key: str, tree: DecisionTree) -> list[tuple[str, ...]]:
    """The answers that lead to a question, any of each step, from the last upwards until the ways part."""
    steps = []
    while after := tree.by_key[key].after:
        steps.append(after)
        if len(after) > 1:
            break
        key = tree.question_of[after[0]].key
    return steps


def _thin(statement: Statement, survey: str | None, counts: Mapping[str, int] | None) -> str | None:
    """The remark on an answer with few training galaxies, altogether or in the frame (`counts`) it is drawn in."""
    if statement.seen is None:
        return None
    if statement.seen == 0:
        return f"{statement.phrase!r} was never seen in training: extrapolation"
    if statement.seen < THIN:
        return f"{statement.phrase!r} is thin: only {_galaxies(statement.seen)} in training"
    here = THIN if counts is None else counts.get(statement.answer, 0)
    if here == 0:
        return f"{statement.phrase!r} was never seen in frame {survey}: extrapolation"
    return f"{statement.phrase!r} is thin in frame {survey}: only {_galaxies(here)} there" if here < THIN else None


def _galaxies(n: int) -> str:
    return f"{n:,} {'galaxy' if n == 1 else 'galaxies'}"


def render(explanation: Explanation) -> "RenderableType":
    """The explanation for a terminal: a table of what is asked for, then remarks."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    morphology = explanation.morphology
    table = Table("question", "answer", "share", "weight", "training galaxies")
    for item in explanation.statements:
        table.add_row(
            Text(item.text),
            Text(item.phrase),
            f"{item.fraction:.2g}",
            f"{item.weight:.3g}",
            "" if item.seen is None else f"{item.seen:,}",
        )
    survey = "any survey" if morphology.survey is None else f"{morphology.survey}: {explanation.survey}"
    lines = [Text(f"caption    {explanation.caption or '(nothing: unconditional)'}"), Text(f"survey     {survey}")]
    styles = {"contradiction": "bold red", "training": "yellow"}
    remarks = [Text(note, style=styles.get(note.partition(":")[0], "cyan")) for note in explanation.notes]
    left_open = [Text(f"left open: {phrase}", style="dim") for phrase in explanation.assumed]
    return Group(*lines, *([table] if explanation.statements else []), *left_open, *remarks)
