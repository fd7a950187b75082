"""The words of a tree: which phrase means which answer, and which survey tokens a model knows.

In: phrase files (`phrases/*.yaml`, and one a user brings) and a decision tree. Out: a `Vocabulary`, complete (every
answer has a canonical phrase) and free of collisions (every phrase has one meaning), which a model can carry along.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from galaxysd.catalog.tree import DecisionTree, Key
from galaxysd.errors import InputError
from galaxysd.settings import Settings

BUILT_IN = Path(__file__).parent / "phrases"

FILLERS = frozenset({"a", "an", "the", "galaxy", "galaxies", "with", "of", "and", "that", "has", "having", "its"})
"""Words that carry no meaning of their own: they may stand anywhere in a prompt and are ignored in comparisons."""

_HYPHENS = re.compile(r"[-\u2010-\u2015\s]+")
_TYPE = "(0|ab|a|bc|b|cd|c|dm|d|m)"
_HUBBLE = re.compile(f"S(AB|A|B){_TYPE}?")  # a family, unbarred, weakly barred or barred, and a type
_RESERVED = re.compile(r"[{},;:]")

Words = tuple[str, ...]


def split_words(text: str) -> Words:
    """Words of `text` in lower case, split at white space and hyphens.

    A word with an underscore is a column name and is kept whole, hyphens included. A Hubble type with a family, as `SB`
    or `SBc`, keeps its capitals, because `Sb` and `Sbc` are other types; of `SBa` there is one only, however typed.

    Example:
        >>> split_words("Edge-ON SBc Sbc sbA")
        ('edge', 'on', 'SBc', 'sbc', 'SBa')
    """
    words: list[str] = []
    for word in text.replace("\u2019", "'").split():
        parts = [word] if "_" in word else _HYPHENS.split(word)
        words.extend(_cased(part) for part in parts if part)
    return tuple(words)


def _cased(word: str) -> str:
    """A word in lower case, but a Hubble type with a family in its own."""
    lower = word.lower()
    if _HUBBLE.fullmatch(word):
        return word
    if re.fullmatch(f"s{_TYPE}", lower):
        return lower
    found = re.fullmatch(f"s(ab|a|b){_TYPE}", lower)
    return f"S{found[1].upper()}{found[2]}" if found else lower


def content_words(text: str) -> Words:
    """What two phrases are compared by: the words without the fillers."""
    return tuple(word for word in split_words(text) if word not in FILLERS)


def control_character(text: str) -> str | None:
    """The first character that is neither printable nor a space, or None."""
    return next((char for char in text if not char.isprintable() and unicodedata.category(char) != "Zs"), None)


class PhraseBook(Settings):
    """One phrase file."""

    answers: dict[str, tuple[str, ...]] = Field(
        default={}, description="answer column -> phrases, the canonical one first"
    )
    compounds: dict[str, tuple[str, ...]] = Field(
        default={}, description="wording that says several answers -> the phrases it stands for"
    )
    related: dict[str, tuple[str, ...]] = Field(
        default={}, description="words that no answer means -> phrases to propose for them"
    )
    surveys: dict[Key, str] = Field(default={}, description="survey token -> one line on framing and bands")


@dataclass(frozen=True)
class Meaning:
    """What a phrase says: answers, or the survey."""

    columns: tuple[str, ...] = ()
    survey: str | None = None


class Vocabulary(Settings):
    """Every phrase of a tree with its one meaning. Usually made by `Vocabulary.load`."""

    tree: DecisionTree
    surveys: tuple[Key, ...] = Field(description="survey tokens that may open a prompt")
    phrases: PhraseBook = Field(description="phrases for every answer of the tree")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        unknown = [column for column in self.phrases.answers if column not in self.tree.question_of]
        if unknown:
            raise InputError(f"phrases for {unknown[0]!r}: no such answer in tree {self.tree.name!r}")
        silent = [column for column in self.tree.columns if not self.phrases.answers.get(column)]
        if silent:
            raise InputError(f"phrases: answer {silent[0]!r} has none; give at least one")
        self.meanings  # noqa: B018 - raises on a collision
        return self

    @classmethod
    def load(cls, tree: DecisionTree, surveys: Iterable[str], extra: str | Path | None = None) -> Self:
        """The built-in phrases for the questions of `tree`, and a user's own.

        Phrases of `extra` come before the built-in ones, so its first phrase becomes the canonical one. An answer that
        no file names is called by the words of its column, `ring_kind` + `double` -> "ring kind double". A built-in
        compound is left out where the tree lacks one of its answers or where its wording is already the phrase of an
        answer ("lenticular" in a tree with Hubble stages); of two for one wording, that of the first file is taken.
        Proposals for unknown words (`related`) keep the phrases that this tree knows.

        Args:
            tree: the questions; a union of trees works as well, shared questions share their phrases.
            surveys: survey tokens the model knows, with or without a description.
            extra: a phrase file of the user.

        Raises:
            InputError: a phrase file is invalid, names an unknown answer, two meanings claim one phrase, or `surveys`
                is one text instead of several tokens.

        Example:
            >>> from galaxysd.catalog.tree import DecisionTree
            >>> Vocabulary.load(DecisionTree.load("gz2"), ["sdss"]).phrase("t08_odd_feature_a19_ring")
            'ring galaxy'
        """
        if isinstance(surveys, str):
            raise InputError(f"surveys: expected several tokens, as in ['sdss'], found the text {surveys!r}")
        built_in = [PhraseBook.read(path) for path in sorted(BUILT_IN.glob("*.yaml"))]
        own = PhraseBook() if extra is None else PhraseBook.read(extra)
        surveys = tuple(surveys)
        answers: dict[str, tuple[str, ...]] = {}
        for book in (own, *built_in):
            for column, phrases in book.answers.items():
                if column in tree.question_of:
                    answers[column] = tuple(dict.fromkeys(answers.get(column, ()) + phrases))
                elif book is own:
                    raise InputError(f"{extra}: {column!r} is not an answer of tree {tree.name!r}")
        said = {content_words(phrase) for phrases in answers.values() for phrase in phrases}
        compounds = dict(own.compounds)
        taken = said | {content_words(wording) for wording in (*compounds, *surveys)}
        for book in built_in:
            for wording, parts in book.compounds.items():
                if content_words(wording) not in taken and all(content_words(part) in said for part in parts):
                    taken.add(content_words(wording))
                    compounds[wording] = parts
        described = {token: text for book in (*built_in, own) for token, text in book.surveys.items()}
        related = {
            words: known
            for book in (*built_in, own)
            for words, phrases in book.related.items()
            if (known := tuple(phrase for phrase in phrases if content_words(phrase) in taken))
        }
        for column, question in tree.question_of.items():
            if column in answers:
                continue
            words = f"{question.key} {column[len(question.key) + 1 :]}".replace("_", " ")
            phrase = column if content_words(words) in taken or not content_words(words) else words
            taken.add(content_words(phrase))
            answers[column] = (phrase,)
        try:
            return cls(
                tree=tree,
                surveys=surveys,
                phrases=PhraseBook(
                    answers={column: answers[column] for column in tree.columns},
                    compounds=compounds,
                    related=related,
                    surveys={token: described[token] for token in surveys if token in described},
                ),
            )
        except InputError as error:
            raise InputError(f"{extra}: {error}" if extra is not None else str(error)) from None

    @cached_property
    def meanings(self) -> dict[Words, Meaning]:
        """Every phrase, as content words, with its meaning. Column names are understood as well.

        Raises:
            InputError: a phrase is empty, holds a reserved character, or has two meanings.
        """
        found: dict[Words, Meaning] = {}

        def add(phrase: str, meaning: Meaning) -> None:
            words = content_words(phrase)
            if not words or _RESERVED.search(phrase) or control_character(phrase):
                raise InputError(
                    f"phrase {phrase!r}: must hold a word besides {', '.join(sorted(FILLERS))}, "
                    "and no brace, comma, colon, semicolon or control character"
                )
            if found.setdefault(words, meaning) != meaning:
                raise InputError(f"phrase {phrase!r}: has two meanings, {_say(found[words])} and {_say(meaning)}")

        for column, phrases in self.phrases.answers.items():
            for phrase in (*phrases, column):
                add(phrase, Meaning(columns=(column,)))
        answers = dict(found)
        for wording, parts in self.phrases.compounds.items():
            columns: list[str] = []
            for part in parts:
                if content_words(part) not in answers:
                    raise InputError(f"compound {wording!r}: {part!r} is not a phrase of an answer")
                columns.extend(answers[content_words(part)].columns)
            if len({self.tree.question_of[column].key for column in columns}) < max(len(columns), 1):
                raise InputError(f"compound {wording!r}: give one or more phrases of different questions")
            add(wording, Meaning(columns=tuple(columns)))
        for token in self.surveys:
            add(token, Meaning(survey=token))
        return found

    @cached_property
    def related(self) -> dict[Words, tuple[str, ...]]:
        """What to propose for words that no answer means: their content words -> phrases."""
        return {content_words(words): phrases for words, phrases in self.phrases.related.items()}

    @cached_property
    def longest(self) -> int:
        """Number of content words in the longest phrase."""
        return max(len(words) for words in self.meanings)

    def cover(self, words: Words) -> list[tuple[int, int]] | None:
        """The fewest phrases that use up all of some content words; of equally few, the longest first.

        Args:
            words: content words, [W].

        Returns:
            The phrases as spans `words[start:end]` in order, or None where no phrases use up all words.

        Example:
            >>> from galaxysd.catalog.tree import DecisionTree
            >>> words = Vocabulary.load(DecisionTree.load("gz2"), [])
            >>> words.cover(("barred", "spiral", "2", "arms"))
            [(0, 1), (1, 2), (2, 4)]
        """
        fewest: list[list[tuple[int, int]] | None] = [None] * len(words) + [[]]  # spans that cover words[start:]
        for start in reversed(range(len(words))):
            for end in range(start + 1, min(start + self.longest, len(words)) + 1):
                rest, best = fewest[end], fewest[start]
                if rest is None or words[start:end] not in self.meanings:
                    continue
                if best is None or len(rest) + 1 <= len(best):
                    fewest[start] = [(start, end), *rest]
        return fewest[0]

    @cached_property
    def known_words(self) -> frozenset[str]:
        """Every word that occurs in some phrase, and the fillers."""
        return FILLERS.union(*self.meanings)

    def phrase(self, column: str) -> str:
        """The canonical phrase of an answer column."""
        return self.phrases.answers[column][0]

    def listed(self) -> tuple[str, ...]:
        """All phrases a person would type: survey tokens, answers (canonical first), compounds."""
        answers = (phrase for phrases in self.phrases.answers.values() for phrase in phrases)
        return (*self.surveys, *answers, *self.phrases.compounds)


def _say(meaning: Meaning) -> str:
    return f"survey {meaning.survey}" if meaning.survey else " + ".join(meaning.columns)
