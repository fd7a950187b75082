"""Parsing: the published prompts, synonyms, weights, and every kind of bad prompt."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from galaxysd.catalog.tree import DecisionTree
from galaxysd.errors import InputError
from galaxysd.prompts import Morphology, Vocabulary, parse
from galaxysd.prompts.vocabulary import content_words

TREE = DecisionTree.load("gz2")
WORDS = Vocabulary.load(TREE, ["sdss", "sdss-r90"])

DUST = "t08_odd_feature_a38_dust_lane"
RING = "t08_odd_feature_a19_ring"
MERGER = "t08_odd_feature_a24_merger"
ROUND = "t07_rounded_a16_completely_round"
BETWEEN = "t07_rounded_a17_in_between"
CIGAR = "t07_rounded_a18_cigar_shaped"
SMOOTH = "t01_smooth_or_features_a01_smooth"
DISK = "t01_smooth_or_features_a02_features_or_disk"
EDGE = "t02_edgeon_a04_yes"
BAR, NO_BAR = TREE.by_key["t03_bar"].columns
DISTURBED = "t08_odd_feature_a21_disturbed"
SPIRAL = "t04_spiral_a08_spiral"
NO_BULGE, NOTICEABLE, OBVIOUS, DOMINANT = TREE.by_key["t05_bulge_prominence"].columns
EDGE_BULGE = "t09_bulge_shape_a25_rounded"
NO_EDGE_BULGE = "t09_bulge_shape_a27_no_bulge"
TIGHT, MEDIUM, LOOSE = TREE.by_key["t10_arms_winding"].columns
TWO, FOUR = "t11_arms_number_a32_2", "t11_arms_number_a34_4"
UNCLEAR = "t11_arms_number_a37_cant_tell"


def says(text: str) -> tuple[set[str], dict[str, float]]:
    """Answers with a share, and weights; checks that the result is a valid morphology on the way."""
    morphology = parse(text, WORDS)
    morphology.check(TREE)
    return {column for column, share in morphology.fractions.items() if share > 0}, morphology.weights


GOLDEN = [
    # legend A-P of the published figure
    ("sdss, cigar shaped galaxy", {CIGAR}, {}),
    ("sdss, completely round galaxy", {ROUND}, {}),
    ("sdss, edge-on galaxy", {EDGE}, {}),
    ("sdss, in-between round galaxy", {BETWEEN}, {}),
    ("sdss, ring galaxy", {RING}, {}),
    ("sdss, spiral galaxy, 4 spiral arms", {SPIRAL, FOUR}, {}),
    ("sdss, spiral galaxy, loosely wound spiral arms, 2 spiral arms", {SPIRAL, LOOSE, TWO}, {}),
    ("sdss, spiral galaxy, tightly wound spiral arms", {SPIRAL, TIGHT}, {}),
    ("sdss, spiral galaxy, just noticeable bulge prominence", {SPIRAL, NOTICEABLE}, {}),
    ("sdss, spiral galaxy, obvious bulge prominence", {SPIRAL, OBVIOUS}, {}),
    ("in-between round galaxy, {dust lane:1.3}", {BETWEEN, DUST}, {DUST: 1.3}),
    ("edge-on galaxy, {dust lane:1.3}, with rounded edge-on bulge", {EDGE, DUST, EDGE_BULGE}, {DUST: 1.3}),
    ("sdss, bar-shaped structure in the center of galaxy", {BAR}, {}),
    ("sdss, bar-shaped structure in the galaxy center", {BAR}, {}),
    ("sdss, edge-on galaxy, with rounded edge-on bulge", {EDGE, EDGE_BULGE}, {}),
    ("in-between round galaxy, merger", {BETWEEN, MERGER}, {}),
    ("spiral galaxy, just noticeable bulge, merger", {SPIRAL, NOTICEABLE, MERGER}, {}),
    # prompts seen in quiz file names and scripts
    ("sdss, {completely round:1.3} galaxy, {dust lane:1.3}", {ROUND, DUST}, {ROUND: 1.3, DUST: 1.3}),
    ("2 spiral arms, sdss, spiral galaxy", {SPIRAL, TWO}, {}),
    ("smooth, something odd, a merger", {SMOOTH, "t06_odd_a14_yes", MERGER}, {}),
    ("features or disk-shaped, medium wound spiral arms", {DISK, MEDIUM}, {}),
    ("elliptical galaxy", {SMOOTH}, {}),
    ("spiral arms pattern", {SPIRAL}, {}),
    # synonyms, compounds, several phrases in one part
    ("barred", {BAR}, {}),
    ("two arms", {TWO}, {}),
    ("dusty", {DUST}, {}),
    ("barred spiral galaxy", {BAR, SPIRAL}, {}),
    ("tightly wound 2-arm spiral", {TIGHT, TWO, SPIRAL}, {}),
    ("loosely wound, two-armed spiral galaxy", {LOOSE, TWO, SPIRAL}, {}),
    ("2-arm spiral galaxy", {TWO, SPIRAL}, {}),
    ("edge-on galaxy with rounded bulge", {EDGE, EDGE_BULGE}, {}),
    ("edge-on galaxy without bulge", {EDGE, NO_EDGE_BULGE}, {}),
    ("face-on disk", {DISK, "t02_edgeon_a05_no"}, {}),
    ("early-type galaxy with dust lane", {SMOOTH, DUST}, {}),
    ("early type and a dust lane", {SMOOTH, DUST}, {}),
    ("early-type spiral", {SPIRAL, OBVIOUS}, {}),
    ("SDSS ,  Spiral\u2010Galaxy,EDGE  ON,", {SPIRAL, EDGE}, {}),
    ("more than four spiral arms", {"t11_arms_number_a36_more_than_4"}, {}),
    # as people say it
    ("ellipticals", {SMOOTH}, {}),
    ("dusty ellipticals", {SMOOTH, DUST}, {}),
    ("edge-on disks", {DISK, EDGE}, {}),
    ("edge-on disc galaxies", {DISK, EDGE}, {}),
    ("barred spirals", {BAR, SPIRAL}, {}),
    ("ringed spirals", {RING, SPIRAL}, {}),
    ("a barred spiral galaxy with two arms", {BAR, SPIRAL, TWO}, {}),
    ("a galaxy that has a bar", {BAR}, {}),
    ("a spiral galaxy with a big bulge", {SPIRAL, DOMINANT}, {}),
    ("prominent bulge", {OBVIOUS}, {}),
    ("tiny bulge", {NOTICEABLE}, {}),
    ("a tight spiral", {SPIRAL, TIGHT}, {}),
    ("loose spirals", {SPIRAL, LOOSE}, {}),
    ("grand design", {SPIRAL, TWO}, {}),
    ("a grand-design spiral", {SPIRAL, TWO}, {}),
    ("grand design spirals", {SPIRAL, TWO}, {}),
    ("flocculent spiral", {SPIRAL, UNCLEAR}, {}),
    ("multi-armed spiral", {SPIRAL, "t11_arms_number_a36_more_than_4"}, {}),
    ("spiral without arms", {SPIRAL, "t04_spiral_a09_no_spiral"}, {}),
    ("tidal tails", {DISTURBED}, {}),
    ("a spiral galaxy with tidal tails", {SPIRAL, DISTURBED}, {}),
    ("merging galaxies with tidal tails", {MERGER}, {}),
    ("two galaxies merging", {MERGER}, {}),
    ("two merging galaxies", {MERGER}, {}),
    ("two spiral galaxies merging", {SPIRAL, MERGER}, {}),
    ("a pair of interacting galaxies", {MERGER}, {}),
    ("sdss; spiral; {bar:1.3}; 2 arms", {SPIRAL, BAR, TWO}, {BAR: 1.3}),
    ("{smooth; dust lane:1.3}", {SMOOTH, DUST}, {SMOOTH: 1.3, DUST: 1.3}),
    # Hubble types
    ("E0", {SMOOTH, ROUND}, {}),
    ("E3 galaxy", {SMOOTH, BETWEEN}, {}),
    ("E7", {SMOOTH, CIGAR}, {}),
    ("Sa", {SPIRAL, TIGHT, DOMINANT}, {}),
    ("Sb", {SPIRAL, MEDIUM, OBVIOUS}, {}),
    ("Sc galaxies", {SPIRAL, MEDIUM, NOTICEABLE}, {}),
    ("Sd", {SPIRAL, LOOSE, NOTICEABLE}, {}),
    ("Sm", {SPIRAL, LOOSE, NO_BULGE}, {}),
    ("SBa", {SPIRAL, BAR, TIGHT, DOMINANT}, {}),
    ("sba", {SPIRAL, BAR, TIGHT, DOMINANT}, {}),
    ("SBb", {SPIRAL, BAR, MEDIUM, OBVIOUS}, {}),
    ("SBc", {SPIRAL, BAR, MEDIUM, NOTICEABLE}, {}),
    ("Sbc", {SPIRAL, MEDIUM, OBVIOUS}, {}),
    ("SABc", {SPIRAL, BAR, MEDIUM, NOTICEABLE}, {}),
    ("SAbc", {SPIRAL, NO_BAR, MEDIUM, OBVIOUS}, {}),
    ("SB galaxy", {SPIRAL, BAR}, {}),
    ("S0", {DISK, "t04_spiral_a09_no_spiral"}, {}),
    ("SB0", {DISK, "t04_spiral_a09_no_spiral", BAR}, {}),
    ("{SBb:1.3} with a ring", {SPIRAL, BAR, MEDIUM, OBVIOUS, RING}, dict.fromkeys((SPIRAL, BAR, MEDIUM, OBVIOUS), 1.3)),
    # weights
    ("{dust lane}", {DUST}, {DUST: 1.1}),
    ("{{dust lane}}", {DUST}, {DUST: 1.21}),
    ("{smooth, {dust lane:1.3}:1.2}", {SMOOTH, DUST}, {SMOOTH: 1.2, DUST: 1.56}),
    ("{dust lane: .5 }", {DUST}, {DUST: 0.5}),
    ("{dust lane:5}", {DUST}, {DUST: 5.0}),
    ("{dust lane:1}", {DUST}, {}),
    ("{dust:1.2} {lane:0.5}", {DUST}, {DUST: 0.5}),
    ("dust lane, {dust lane:1.3}, {dusty:1.2}", {DUST}, {DUST: 1.3}),
    ("{edge-on galaxy without bulge:2}", {EDGE, NO_EDGE_BULGE}, {EDGE: 2.0, NO_EDGE_BULGE: 2.0}),
    ("{{{{{{{{smooth:1}:1}:1}:1}:1}:1}:1}:2}", {SMOOTH}, {SMOOTH: 2.0}),
]


@pytest.mark.parametrize(("text", "answers", "weights"), GOLDEN, ids=[text for text, _, _ in GOLDEN])
def test_prompt_is_understood(text: str, answers: set[str], weights: dict[str, float]) -> None:
    assert says(text) == (answers, weights)


def test_survey_is_read_anywhere_and_may_be_missing() -> None:
    assert parse("sdss, smooth", WORDS).survey == "sdss"
    assert parse("smooth, sdss-r90", WORDS).survey == "sdss-r90"
    assert parse("sdss smooth galaxy, sdss", WORDS).survey == "sdss"
    assert parse("smooth", WORDS).survey is None


@pytest.mark.parametrize("text", ["", "   ", ",", ";", ";, ;", "galaxy", "a galaxy", "galaxies, "])
def test_saying_nothing_is_unconditional(text: str) -> None:
    assert parse(text, WORDS) == Morphology()
    assert parse(f"sdss, {text}", WORDS) == Morphology(survey="sdss")


def test_several_answers_to_one_question_share_it() -> None:
    morphology = parse("ring, dust lane, a merger, {2 spiral arms:2}, 4 spiral arms, ring", WORDS)
    assert {c: f for c, f in morphology.fractions.items() if f} == {
        RING: 1 / 3,
        DUST: 1 / 3,
        MERGER: 1 / 3,
        TWO: 0.5,
        FOUR: 0.5,
    }
    assert morphology.weights == {TWO: 2.0}


BAD = [
    ("smooth, sprial galaxy", "unknown word 'sprial' in 'sprial galaxy'; nearest known: spiral galaxy"),
    ("dust lanne", "unknown word 'lanne' in 'dust lanne'; nearest known: dust lane"),
    ("smooth with wobbles and clumps", "unknown words 'wobbles', 'clumps'"),
    ("xyzzy", "unknown word 'xyzzy'.*known: sdss"),
    ("hst, smooth", "unknown word 'hst'"),
    ("no dust lane", "'no dust lane' is not made of known phrases"),
    ("not round", "'not round' is not made of known phrases"),
    ("with", "'with' is not made of known phrases"),
    ("smooth.", "unknown word 'smooth.'"),
    ("red galaxy", "unknown word 'red' in 'red galaxy'; nearest known: smooth, elliptical"),
    ("{dust lane", "never closed"),
    ("{dust lane, {smooth}", "never closed"),
    ("{dust lane; smooth", "never closed"),
    ("{dust lane:1.3; smooth}", "':' before '1.3' must"),
    ("{dust lane:1.3", "must give a weight and close its braces"),
    ("dust lane}", "never opened"),
    ("{a}} smooth", "braces hold no phrase"),
    ("{}", "braces hold no phrase"),
    ("{:1.3}", "braces hold no phrase"),
    ("smooth {galaxy:2}", "braces hold no phrase"),
    ("dust lane:1.3", "':' before '1.3' must"),
    ("{dust lane:1.3, smooth}", "':' before '1.3' must"),
    ("{dust lane:1.3:2}", "':' before '1.3' must"),
    ("{dust lane:}", "weight '' is not a number"),
    ("{dust lane:much}", "weight 'much' is not a number"),
    ("{dust lane:1_3}", "weight '1_3' is not a number"),
    ("{dust lane:\u0663}", "is not a number"),
    ("{dust lane:nan}", "weight 'nan' is not a number"),
    ("{dust lane:inf}", "weight 'inf' is not a number"),
    ("{dust lane:1e999}", "weight '1e999' is out of range"),
    ("{dust lane:0}", "weight '0' is out of range"),
    ("{dust lane:-1}", "weight '-1' is out of range"),
    ("{dust lane:5.1}", "weight '5.1' is out of range"),
    ("{{dust lane:3}:3}", "nested weights of 'dust' multiply to 9"),
    ("{{dust lane:1e-200}:1e-200}", "nested weights of 'dust' multiply to 0"),
    ("{" * 9 + "smooth" + "}" * 9, "more than 8 deep"),
    ("sdss, sdss-r90", "two surveys, 'sdss' and 'sdss-r90'"),
    ("{sdss, smooth}", "survey token 'sdss' cannot carry a weight"),
    ("smooth\nspiral", "control character '\\\\n'"),
    ("smooth\x00", "control character '\\\\x00'"),
    ("smo\u200both", "control character '\\\\u200b'"),
    ("smooth\ud800", "control character '\\\\ud800'"),
    ("smooth, " * 126, "has 1008 characters; at most 1000"),
]


@pytest.mark.parametrize(("text", "said"), BAD, ids=[ascii(text)[:40] for text, _ in BAD])
def test_bad_prompt_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        parse(text, WORDS)
    assert str(error.value).isprintable() and len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "not None"),
        (3, "not the int 3"),
        (2.5, "not the float 2.5"),
        (np.int64(3), "not an int64"),
        (b"smooth", "not a bytes"),
        (["smooth"], "not a list"),
        ({"prompt": "smooth"}, "not a dict"),
        (Morphology(), "not a Morphology"),
        pytest.param(10**5000, "not an int", id="long"),
    ],
)
def test_what_is_no_text_is_refused_in_one_line(value: Any, said: str) -> None:
    with pytest.raises(InputError, match=f"prompt: expected text such as 'spiral galaxy, 2 arms', {said}") as error:
        parse(value, WORDS)
    assert str(error.value).isprintable() and len(str(error.value)) < 200


def test_text_of_numpy_is_text() -> None:
    assert parse(np.array(["sdss, smooth"])[0], WORDS) == parse("sdss, smooth", WORDS)


def test_longest_prompt_is_still_read() -> None:
    assert says(("smooth, " * 125).ljust(1000)) == ({SMOOTH}, {})


PIECES = st.sampled_from(
    [
        "{",
        "}",
        ":",
        ",",
        ";",
        " ",
        "-",
        "1.3",
        "0",
        "nan",
        "no",
        "the",
        "_",
        "\t",
        "\u00a0",
        "\u0130",
        "Σ",
        "sdss",
        *WORDS.listed(),
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(st.text(max_size=60), st.text("{}:,;-. 123dust", max_size=40), st.lists(PIECES, max_size=12).map("".join))
)
@example("{" * 600)
@example("}" * 1000)
@example("zz " * 333)
def test_any_text_is_understood_or_refused_in_one_line(text: str) -> None:
    try:
        morphology = parse(text, WORDS)
    except InputError as error:
        assert str(error).isprintable()
    else:
        morphology.check(TREE)
        says_something = morphology.fractions or morphology.survey
        assert bool(says_something) == bool(content_words(re.sub("[{},;:]", " ", text)))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.sampled_from([*WORDS.listed()][len(WORDS.surveys) :]), min_size=1, max_size=4),
    st.text("abcdefghijklmnopqrstuvwxyz", min_size=3, max_size=8).filter(lambda word: word not in WORDS.known_words),
    st.integers(0, 4),
)
def test_a_strange_word_is_never_dropped(phrases: list[str], strange: str, place: int) -> None:
    words = ", ".join(phrases).split(" ")
    words.insert(place, strange)
    with pytest.raises(InputError, match=strange):
        parse(" ".join(words), WORDS)
