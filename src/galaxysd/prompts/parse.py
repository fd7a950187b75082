"""From words to a morphology.

In: a prompt such as "sdss, tightly wound 2-arm spiral galaxy, {dust lane:1.3}" and a `Vocabulary`. Out: a `Morphology`.

A prompt is a list of parts separated by commas or semicolons; a part is one or more known phrases one after another,
read as the fewest phrases that use up all of its words. Case (but for Hubble types such as SBc), hyphens and surplus
white space do not matter, and the filler words of `vocabulary.FILLERS` may stand anywhere; every other word must belong
to a phrase. Braces give the words inside a weight: `{dust lane:1.3}`, `{dust lane}` for 1.1, and nested braces
multiply. They may enclose part of a phrase (`{completely round:1.3} galaxy`) or several parts; a phrase takes the
weight of its word that is furthest from 1. One survey token may be given, by custom first. An empty prompt, "galaxy",
or a survey token alone leaves all unknown.
"""

import re
from dataclasses import dataclass

from galaxysd.errors import InputError
from galaxysd.prompts.arguments import described
from galaxysd.prompts.morphology import MAX_WEIGHT, Morphology, furthest_from_one
from galaxysd.prompts.suggest import suggest
from galaxysd.prompts.vocabulary import FILLERS, Meaning, Vocabulary, control_character, split_words

MAX_LENGTH = 1000
MAX_DEPTH = 8
BRACES_WEIGHT = 1.1

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)


@dataclass
class _Word:
    text: str
    weight: float = 1.0


def parse(text: str, vocabulary: Vocabulary) -> Morphology:
    """Understand a prompt.

    A question that is spoken of becomes known: the answer named gets the fraction 1 and the others 0. Where k answers
    of one question are named, each gets 1/k (`explain` reports it). An answer named twice keeps the weight furthest
    from 1.

    Args:
        text: the prompt.
        vocabulary: the words.

    Raises:
        InputError: `text` is no text, a word is not known, braces or weights are malformed, two surveys are named, or
            the prompt is longer than 1,000 characters or holds control characters.

    Example:
        >>> from galaxysd.catalog.tree import DecisionTree
        >>> words = Vocabulary.load(DecisionTree.load("gz2"), ["sdss"])
        >>> parse("sdss, a barred galaxy", words)
        Morphology(survey='sdss', fractions={'t03_bar_a06_bar': 1.0, 't03_bar_a07_no_bar': 0.0}, weights={})
    """
    if not isinstance(text, str):
        raise InputError(f"prompt: expected text such as 'spiral galaxy, 2 arms', not {described(text)}")
    survey: str | None = None
    named: dict[str, list[float]] = {}
    for part in _parts(text):
        for meaning, weight in _read(part, vocabulary):
            if meaning.survey is not None:
                if weight != 1.0:
                    raise InputError(
                        f"prompt: survey token {meaning.survey!r} cannot carry a weight; free it from braces"
                    )
                if survey not in (None, meaning.survey):
                    raise InputError(f"prompt: names two surveys, {survey!r} and {meaning.survey!r}; keep one")
                survey = meaning.survey
            for column in meaning.columns:
                named.setdefault(column, []).append(weight)

    fractions: dict[str, float] = {}
    for question in vocabulary.tree.questions:
        answers = [column for column in question.columns if column in named]
        if answers:
            fractions.update({column: (column in named) / len(answers) for column in question.columns})
    weights = {column: furthest_from_one(given) for column, given in named.items()}
    return Morphology(survey=survey, fractions=fractions, weights=weights)


def _parts(text: str) -> list[list[_Word]]:
    """The parts of a prompt, between commas or semicolons, as words with their weights."""
    if len(text) > MAX_LENGTH:
        raise InputError(f"prompt: has {len(text)} characters; at most {MAX_LENGTH} are read")
    if (char := control_character(text)) is not None:
        raise InputError(f"prompt: holds the control character {char!r}; use plain text in one line")

    parts: list[list[_Word]] = [[]]
    words: list[_Word] = []  # of all parts, for braces that span several
    opened: list[int] = []  # number of words before each open brace
    tokens = iter(re.split(r"([{},;:])", text))
    for token in tokens:
        match token:
            case "," | ";":
                parts.append([])
            case "{":
                opened.append(len(words))
                if len(opened) > MAX_DEPTH:
                    raise InputError(f"prompt: braces are nested more than {MAX_DEPTH} deep")
            case ":":
                given = next(tokens)
                if not opened or next(tokens, "") != "}":
                    raise InputError(
                        f"prompt: ':' before {_short(given.strip())} must give a weight and close its braces, "
                        "as in {dust lane:1.3}"
                    )
                _close(words, opened, _weight(given.strip()))
            case "}":
                if not opened:
                    raise InputError("prompt: '}' closes braces that were never opened")
                _close(words, opened, BRACES_WEIGHT)
            case _:
                new = [_Word(word) for word in split_words(token)]
                parts[-1].extend(new)
                words.extend(new)
    if opened:
        raise InputError("prompt: '{' is never closed; write {dust lane:1.3}")
    return parts


def _close(words: list[_Word], opened: list[int], weight: float) -> None:
    """Apply a weight to the words since the last open brace."""
    inside = words[opened.pop() :]
    if all(word.text in FILLERS for word in inside):
        raise InputError("prompt: braces hold no phrase; write {dust lane:1.3}")
    for word in inside:
        word.weight = float(f"{word.weight * weight:.6g}")  # 1.1 * 1.1 is meant to be 1.21
        if not 0.0 < word.weight <= MAX_WEIGHT:
            raise InputError(
                f"prompt: nested weights of {_short(word.text)} multiply to {word.weight:g}; "
                f"stay above 0 and at most {MAX_WEIGHT:g}"
            )


def _weight(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise InputError(f"prompt: weight {_short(text)} is not a number; write {{dust lane:1.3}}")
    weight = float(text)
    if not 0.0 < weight <= MAX_WEIGHT:
        raise InputError(f"prompt: weight {_short(text)} is out of range; choose above 0 and at most {MAX_WEIGHT:g}")
    return weight


def _read(part: list[_Word], vocabulary: Vocabulary) -> list[tuple[Meaning, float]]:
    """The fewest phrases that use up all words of a part, fillers aside; of equally few, the longest first."""
    words = [word for word in part if word.text not in FILLERS]
    if part and not words and not {"galaxy", "galaxies"} & {word.text for word in part}:
        raise _unknown(part, vocabulary)
    texts = tuple(word.text for word in words)
    spans = vocabulary.cover(texts)
    if spans is None:
        raise _unknown(part, vocabulary)
    return [
        (vocabulary.meanings[texts[start:end]], furthest_from_one([word.weight for word in words[start:end]]))
        for start, end in spans
    ]


def _unknown(part: list[_Word], vocabulary: Vocabulary) -> InputError:
    """The error for a part that is not made of known phrases: what is wrong, and what may have been meant."""
    words = tuple(word.text for word in part)
    strange = [word for word in words if word not in vocabulary.known_words][:5]
    text = " ".join(words)
    near = suggest(words, vocabulary)
    hint = (
        "nearest known: " + ", ".join(near)
        if near
        else f"known: {', '.join(vocabulary.listed()[:6])}, ...; `galaxysd words` lists all"
    )
    if strange:
        noun = "word" if len(strange) == 1 else "words"
        return InputError(f"prompt: unknown {noun} {', '.join(map(_short, strange))} in {_short(text)}; {hint}")
    return InputError(f"prompt: {_short(text)} is not made of known phrases; {hint}")


def _short(text: str) -> str:
    """A quotation that stays on one line."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
