"""The vocabulary laid out for reading: every phrase, the question it answers, and how much of it a model has seen.

In: a `Vocabulary` and, where a model is at hand, how many of its training galaxies had each answer. Out: a `Glossary`
(JSON-able) and its rendering for a terminal.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from galaxysd.prompts.caption import asking_order
from galaxysd.prompts.explain import THIN
from galaxysd.prompts.vocabulary import Vocabulary, content_words
from galaxysd.settings import Settings

if TYPE_CHECKING:  # rich is slow to import and only `render_glossary` needs it
    from rich.console import RenderableType
    from rich.text import Text


class AnswerWords(Settings):
    """What one answer is called."""

    answer: str = Field(description="answer column")
    phrase: str = Field(description="canonical phrase, which captions use")
    synonyms: tuple[str, ...] = Field(description="other phrases that are understood")
    seen: int | None = Field(description="training galaxies with this answer above 0.5; null: not known here")
    thin: bool = Field(description=f"fewer than {THIN} of them")


class QuestionWords(Settings):
    """One question and the words for its answers."""

    question: str = Field(description="question key")
    text: str = Field(description="what the volunteers were asked")
    answers: tuple[AnswerWords, ...] = Field(description="in tree order")


class CompoundWords(Settings):
    """Wordings that say several answers at once."""

    wordings: tuple[str, ...]
    says: tuple[str, ...] = Field(description="canonical phrases of the answers")
    seen: int | None = Field(description="training galaxies with the rarest of the answers; null: not known here")
    thin: bool = Field(description=f"fewer than {THIN} of them")


class Glossary(Settings):
    """All words of a vocabulary."""

    surveys: dict[str, str] = Field(description="survey token -> what it stands for")
    questions: tuple[QuestionWords, ...] = Field(description="in asking order")
    compounds: tuple[CompoundWords, ...]


def glossary(vocabulary: Vocabulary, evidence: Mapping[str, int] | None = None) -> Glossary:
    """Lay out a vocabulary.

    Args:
        vocabulary: the words.
        evidence: answer column -> number of training galaxies with that answer above 0.5; an answer that is not in it
            was never seen. None: not known, nothing is called thin.

    Example:
        >>> from galaxysd.catalog.tree import DecisionTree
        >>> words = Vocabulary.load(DecisionTree.load("gz2"), ["sdss"])
        >>> question = glossary(words, {"t02_edgeon_a04_yes": 2212}).questions[1]
        >>> [(answer.phrase, answer.seen, answer.thin) for answer in question.answers]
        [('edge-on galaxy', 2212, False), ('disk not edge-on', 0, True)]
    """
    tree = vocabulary.tree
    seen = {column: None if evidence is None else evidence.get(column, 0) for column in tree.columns}
    together: dict[tuple[str, ...], list[str]] = {}
    for wording in vocabulary.phrases.compounds:
        together.setdefault(vocabulary.meanings[content_words(wording)].columns, []).append(wording)
    return Glossary(
        surveys={token: vocabulary.phrases.surveys.get(token, "no description") for token in vocabulary.surveys},
        questions=tuple(
            QuestionWords(
                question=key,
                text=tree.by_key[key].text,
                answers=tuple(
                    AnswerWords(
                        answer=column,
                        phrase=vocabulary.phrase(column),
                        synonyms=vocabulary.phrases.answers[column][1:],
                        seen=seen[column],
                        thin=_thin(seen[column]),
                    )
                    for column in tree.by_key[key].columns
                ),
            )
            for key in asking_order(tree)
        ),
        compounds=tuple(
            CompoundWords(
                wordings=tuple(wordings),
                says=tuple(vocabulary.phrase(column) for column in columns),
                seen=(rarest := None if evidence is None else min(evidence.get(column, 0) for column in columns)),
                thin=_thin(rarest),
            )
            for columns, wordings in together.items()
        ),
    )


def _thin(seen: int | None) -> bool:
    return seen is not None and seen < THIN


def render_glossary(found: Glossary) -> "RenderableType":
    """The glossary for a terminal: surveys, then a table for each question, then the compounds."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    def table(title: str, *columns: str) -> Table:
        made = Table(title=Text(title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, expand=True)
        for name, ratio in zip(columns, (3, 4), strict=True):
            made.add_column(name, ratio=ratio)
        made.add_column("training galaxies", justify="right", width=17)
        return made

    tables = []
    for question in found.questions:
        shown = table(question.text, "phrase", "also understood")
        for answer in question.answers:
            shown.add_row(
                Text(answer.phrase, style="bold"), Text(", ".join(answer.synonyms), style="dim"), _count(answer)
            )
        tables.append(shown)
    shown = table("Several answers at once", "phrase", "says")
    for compound in found.compounds:
        shown.add_row(
            Text(", ".join(compound.wordings), style="bold"), Text(", ".join(compound.says)), _count(compound)
        )
    surveys = [
        Text.assemble((token, "bold"), f"  {description}", overflow="fold")
        for token, description in found.surveys.items()
    ]
    opening = [Text("Survey or frame, the first word of a prompt", style="bold italic")] if surveys else []
    legend = [Text(f"thin: fewer than {THIN} training galaxies; of several answers, the rarest counts", style="dim")]
    known = any(answer.seen is not None for question in found.questions for answer in question.answers)
    return Group(*opening, *surveys, Text(), *tables, *([shown] if found.compounds else []), *(legend if known else []))


def _count(item: AnswerWords | CompoundWords) -> "Text":
    """Training galaxies for the table, thin ones marked in word and colour."""
    from rich.text import Text

    if item.seen is None:
        return Text("")
    if item.seen == 0:
        return Text("never seen", style="bold red")
    return Text(f"thin  {item.seen:,}" if item.thin else f"{item.seen:,}", style="yellow" if item.thin else "")
