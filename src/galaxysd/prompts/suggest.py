"""What may have been meant by words that are not made of known phrases.

In: the words of one part of a prompt and a `Vocabulary`. Out: a few phrases to propose, the same for the same words.

Meaning comes first: a table in the phrase files (`related`) names what may serve for words that no answer means, "red"
-> smooth. Then spelling: a strange word is replaced by the nearest known *word*, or left out where it is like none, and
where the words then make sense they are proposed as they are. Last, phrases that share a word.
"""

from difflib import SequenceMatcher, get_close_matches

from galaxysd.prompts.vocabulary import FILLERS, Vocabulary, Words, content_words

MOST = 4  # phrases proposed
MENDED = 5  # strange words looked at; of more, nothing sensible was meant
ALIKE = 0.75  # difflib's ratio: "lanne" and "lane" .89, "red" and "ringed" .67
LONGEST = 80  # characters compared
NEGATIONS = frozenset({"no", "not", "without", "nothing", "non", "can't"})


def suggest(words: Words, vocabulary: Vocabulary) -> tuple[str, ...]:
    """Phrases that may have been meant, the likeliest first.

    Args:
        words: words of a part of a prompt, fillers included, [W].
        vocabulary: the phrases there are.

    Returns:
        At most four phrases; none where the words are like no others.

    Example:
        >>> from galaxysd.catalog.tree import DecisionTree
        >>> vocabulary = Vocabulary.load(DecisionTree.load("gz2"), ["sdss"])
        >>> suggest(("red", "galaxy"), vocabulary)
        ('smooth', 'elliptical', 'early type')
        >>> suggest(("sprial", "galaxy", "with", "dust"), vocabulary)
        ('spiral galaxy with dust',)
    """
    related = _related(tuple(word for word in words if word not in FILLERS), vocabulary)
    if related:
        return related[:MOST]
    strange = {word for word in words if word not in vocabulary.known_words}
    if len(strange) > MENDED:
        return ()
    known = sorted(vocabulary.known_words)
    mended = {word: _nearest(word, known) for word in sorted(strange)}
    kept = tuple(new for word in words if (new := mended.get(word, word)))
    content = tuple(word for word in kept if word not in FILLERS)
    if strange and content and vocabulary.cover(content):
        return (_trimmed(kept),)
    return _alike(content, vocabulary)[:MOST]


def _trimmed(words: Words) -> str:
    """Words as a text that neither opens nor ends with a filler that asks for a neighbour."""
    joining = FILLERS - {"galaxy", "galaxies"}
    end = max(place for place, word in enumerate(words, start=1) if word not in joining)
    start = next(place for place, word in enumerate(words) if word not in joining - {"a", "an", "the"})
    return " ".join(words[start:end])


def _related(words: Words, vocabulary: Vocabulary) -> tuple[str, ...]:
    """What the table of related words has for the words, longest runs first."""
    found: dict[str, None] = {}
    longest = max((len(key) for key in vocabulary.related), default=0)
    for length in range(longest, 0, -1):
        for start in range(len(words) - length + 1):
            found |= dict.fromkeys(vocabulary.related.get(words[start : start + length], ()))
    return tuple(found)


def _nearest(word: str, known: list[str]) -> str | None:
    """The known word that a word is a misspelling of: its letters in another order, or nearly the same ones."""
    letters = sorted(word)
    shuffled = [other for other in known if sorted(other) == letters]
    return next(iter(shuffled or get_close_matches(word[:LONGEST], known, n=1, cutoff=ALIKE)), None)


def _alike(words: Words, vocabulary: Vocabulary) -> tuple[str, ...]:
    """The phrase of each meaning that is most like the words, among phrases that share one and deny no more."""
    shared = set(words) - NEGATIONS
    denied = bool(NEGATIONS & set(words))
    matcher = SequenceMatcher(b=" ".join(words)[:LONGEST], autojunk=False)
    likeness: dict[tuple[str, ...], tuple[float, int, str]] = {}
    for place, phrase in enumerate(vocabulary.listed()):
        own = content_words(phrase)
        if not shared & set(own) or (NEGATIONS & set(own) and not denied):
            continue
        matcher.set_seq1(" ".join(own))
        meaning = vocabulary.meanings[own]
        found = (-matcher.ratio(), place, phrase)
        key = meaning.columns or (meaning.survey or "",)
        likeness[key] = min(found, likeness.get(key, found))
    return tuple(phrase for _, _, phrase in sorted(likeness.values()))
