"""Proposals for words that are not known: by meaning, then by spelling, always the same."""

import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxysd.catalog.tree import DecisionTree
from galaxysd.errors import InputError
from galaxysd.prompts import Vocabulary, parse
from galaxysd.prompts.suggest import MOST, suggest
from galaxysd.prompts.vocabulary import split_words

WORDS = Vocabulary.load(DecisionTree.load("gz2").union(DecisionTree.load("efigi")), ["sdss", "sdss-r90", "efigi"])


def proposed(text: str) -> tuple[str, ...]:
    return suggest(split_words(text), WORDS)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        # by meaning
        ("red galaxy", "smooth"),
        ("a red and dead galaxy", "smooth"),
        ("blue galaxy", "spiral galaxy"),
        ("star-forming galaxy", "spiral galaxy"),
        ("whirlpool", "spiral galaxy"),
        ("clumpy galaxy", "irregular galaxy"),
        ("needle", "edge-on disk"),
        ("galaxy with a companion", "merger"),
        ("peanut bulge", "boxy bulge"),
        ("dwarf galaxy", "dwarf elliptical"),
        # by spelling: of the word, and then the whole text as it was meant
        ("sprial galaxy", "spiral galaxy"),
        ("sprial galxy", "spiral galaxy"),
        ("elipticals", "ellipticals"),
        ("barrd sprial with a dust lanne", "barred spiral with a dust lane"),
        ("spirals with 2 amrs", "spirals with 2 arms"),
        # what is like nothing is left out
        ("nearby spiral", "spiral"),
        ("smooth with a wobble", "smooth"),
        # known words that make no phrase
        ("no dust lane", "dust lane"),
        ("large galaxy", "large bulge"),
    ],
)
def test_the_likeliest_comes_first(text: str, first: str) -> None:
    assert proposed(text)[0] == first


@pytest.mark.parametrize("text", ["quasar", "xyzzy", "hst", "", "galaxy", "x " * 400, "z" * 1000, "\U0001f30c"])
def test_nothing_is_proposed_for_what_is_like_nothing(text: str) -> None:
    assert proposed(text) == ()


def test_a_colour_is_not_answered_with_a_ring() -> None:
    for colour in ("red", "reddish", "blue", "yellow"):
        assert not {"ringed", "barred", "ring galaxy"} & set(proposed(f"{colour} galaxy"))


def test_the_opposite_of_what_was_said_is_not_proposed() -> None:
    assert not [phrase for phrase in proposed("a bulge") if phrase.startswith(("no ", "without "))]
    assert proposed("not a bulge")[0] == "no bulge"


def test_each_meaning_is_proposed_once() -> None:
    meanings = [WORDS.meanings[tuple(split_words(phrase))] for phrase in proposed("3 spiral bulge arms")]
    assert len(meanings) == len(set(meanings))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(sorted(WORDS.known_words)), st.text(max_size=9)), max_size=8).map(" ".join))
def test_proposals_are_few_known_and_repeat(text: str) -> None:
    try:
        parse(text, WORDS)
    except InputError:
        pass
    else:
        return
    found = proposed(text)
    assert len(found) <= MOST and found == proposed(text)
    for phrase in found:
        parse(phrase, WORDS)  # whatever is proposed is understood


def test_proposals_do_not_depend_on_the_hash_seed() -> None:
    code = (
        "from galaxysd.catalog.tree import DecisionTree; from galaxysd.prompts import Vocabulary;"
        "from galaxysd.prompts.suggest import suggest;"
        "words = Vocabulary.load(DecisionTree.load('gz2'), ['sdss']);"
        "print([suggest(text, words) for text in (('sprial',), ('bulge',), ('bra',), ('arm', 'bulge'))])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(said) == 1
