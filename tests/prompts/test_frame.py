"""Which frame a bare prompt is drawn in: the survey that has seen the most of all that is asked for."""

import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from galaxysd.catalog.tree import DecisionTree
from galaxysd.errors import InputError
from galaxysd.prompts import Morphology, Vocabulary, parse, pick_survey

TREE = DecisionTree.load("gz2").union(DecisionTree.load("efigi"))
SURVEYS = ("sdss", "sdss-r90", "efigi")
WORDS = Vocabulary.load(TREE, SURVEYS)
SMOOTH, DISK, _ = TREE.by_key["t01_smooth_or_features"].columns
BAR, NO_BAR = TREE.by_key["t03_bar"].columns
SPIRAL = "t04_spiral_a08_spiral"
TWO, THREE = "t11_arms_number_a32_2", "t11_arms_number_a33_3"
EARLY = "stage_early_spiral"
SEEN = {
    "sdss": {SMOOTH: 4000, DISK: 2000, SPIRAL: 900, BAR: 50, TWO: 40},
    "sdss-r90": {SMOOTH: 2500, DISK: 4700, SPIRAL: 1372, BAR: 800, TWO: 38},
    "efigi": {SMOOTH: 700, DISK: 2100, SPIRAL: 1700, BAR: 600, EARLY: 440},
}


def picked(text: str, seen: dict[str, dict[str, int]] = SEEN) -> tuple[str | None, str]:
    return pick_survey(parse(text, WORDS), seen, WORDS)


@pytest.mark.parametrize(
    ("text", "survey", "reason"),
    [
        ("smooth", "sdss", "frame sdss: 4,000 training galaxies there for 'smooth'"),
        ("a spiral galaxy", "efigi", "frame efigi: 1,700 training galaxies there for 'spiral galaxy'"),
        ("early spiral", "efigi", "frame efigi: 440 training galaxies there for 'Hubble stage early spiral'"),
        # sdss has two arms more by two, but hardly a bar; efigi has none with two arms
        (
            "a barred spiral galaxy with two arms",
            "sdss-r90",
            "frame sdss-r90: 38 training galaxies there for '2 spiral arms', the rarest of 3 answers",
        ),
        (
            "smooth, early spiral",
            "efigi",
            "frame efigi: 440 training galaxies there for 'Hubble stage early spiral', the",
        ),
        # no frame has all of them: the one that has the most of them, then the one that has more galaxies of these
        ("spiral, 2 arms, 3 arms", "sdss", "frame sdss: 2 of 3 answers there, not '3 spiral arms'"),
        ("2 arms, early spiral", "efigi", "frame efigi: 1 of 2 answers there, not '2 spiral arms'"),
        ("3 arms", "sdss-r90", "frame sdss-r90: the one with most training galaxies; none has '3 spiral arms'"),
        ("", "sdss-r90", "frame sdss-r90: the one with most training galaxies"),
        ("galaxy", "sdss-r90", "frame sdss-r90: the one with most training galaxies"),
    ],
)
def test_the_frame_with_the_most_of_all_that_is_asked_for(text: str, survey: str, reason: str) -> None:
    found = picked(text)
    assert found[0] == survey
    assert found[1].startswith(reason)


def test_a_named_survey_is_left_alone() -> None:
    assert picked("sdss, early spiral") == ("sdss", "")
    assert picked("sdss") == ("sdss", "")


def test_without_evidence_nothing_is_picked() -> None:
    assert picked("smooth", {}) == (None, "")
    assert picked("sdss, smooth", {}) == ("sdss", "")


def test_evidence_of_empty_surveys_picks_the_first() -> None:
    assert picked("smooth", {"efigi": {}, "sdss": {}})[0] == "efigi"
    assert picked("", {"efigi": {}, "sdss": {SMOOTH: 0}})[0] == "efigi"


def test_ties_go_to_the_first() -> None:
    assert picked("smooth", {"efigi": {SMOOTH: 5}, "sdss": {SMOOTH: 5, DISK: 90}})[0] == "efigi"
    assert picked("smooth", {"sdss": {SMOOTH: 5, DISK: 90}, "efigi": {SMOOTH: 5}})[0] == "sdss"


def test_one_galaxy_is_one_galaxy() -> None:
    assert picked("smooth", {"sdss": {SMOOTH: 1}})[1] == "frame sdss: 1 training galaxy there for 'smooth'"


def test_many_missing_answers_are_cut_short() -> None:
    reason = picked("1 arm, 2 arms, 3 arms, 4 arms, many arms", {"sdss": {}})[1]
    assert reason.endswith("none has '1 spiral arm' or '2 spiral arms' or '3 spiral arms' or 2 more")


def test_of_votes_the_largest_answer_counts() -> None:
    votes = Morphology(fractions={BAR: 0.4, NO_BAR: 0.6})
    assert votes.asked(TREE) == (NO_BAR,)
    assert pick_survey(votes, {"sdss": {BAR: 900, NO_BAR: 1}, "efigi": {NO_BAR: 2}}, WORDS).survey == "efigi"
    assert Morphology(fractions={BAR: 0.5, NO_BAR: 0.5}).asked(TREE) == (BAR, NO_BAR)
    assert Morphology(fractions={BAR: 0.0, NO_BAR: 0.0}).asked(TREE) == ()


def test_bad_input_is_named() -> None:
    with pytest.raises(
        InputError, match="evidence of survey 'hst', which is not known here; known: sdss, sdss-r90, efigi"
    ):
        picked("smooth", {"hst": {SMOOTH: 1}})
    with pytest.raises(InputError, match="'t99_x' is not an answer"):
        pick_survey(Morphology(fractions={"t99_x": 1.0}), SEEN, WORDS)


COUNTS = st.dictionaries(st.sampled_from(TREE.columns), st.integers(0, 5000), max_size=len(TREE.columns))
EVIDENCE = st.permutations(SURVEYS).flatmap(lambda order: st.fixed_dictionaries(dict.fromkeys(order, COUNTS)))
ASKED = st.lists(st.sampled_from(TREE.columns), min_size=1, max_size=5, unique=True)


def all_of(counts: dict[str, int], asked: tuple[str, ...]) -> bool:
    return all(counts.get(column, 0) for column in asked)


@settings(max_examples=100, deadline=None)
@given(ASKED, EVIDENCE)
def test_a_survey_that_lacks_an_answer_loses_to_one_that_has_them_all(
    columns: list[str], evidence: dict[str, dict[str, int]]
) -> None:
    morphology = parse(", ".join(columns), WORDS)
    asked = morphology.asked(TREE)
    assert set(asked) == set(columns)
    survey, reason = pick_survey(morphology, evidence, WORDS)
    assert survey in SURVEYS and reason.startswith(f"frame {survey}: ") and reason.isprintable()
    if any(all_of(counts, asked) for counts in evidence.values()):
        assert all_of(evidence[survey], asked)
        assert re.search(r"[\d,]+ training galax", reason)


@settings(max_examples=100, deadline=None)
@given(ASKED, EVIDENCE, st.integers(1, 1000), st.data())
def test_more_galaxies_of_what_is_asked_for_never_lose_the_frame(
    columns: list[str], evidence: dict[str, dict[str, int]], more: int, data: st.DataObject
) -> None:
    morphology = parse(", ".join(columns), WORDS)
    survey = pick_survey(morphology, evidence, WORDS).survey
    assert survey is not None
    column = data.draw(st.sampled_from(columns))
    raised = {**evidence, survey: {**evidence[survey], column: evidence[survey].get(column, 0) + more}}
    assume(any(evidence[survey].get(column, 0) for column in columns))
    assert pick_survey(morphology, raised, WORDS).survey == survey


@settings(max_examples=100, deadline=None)
@given(ASKED, EVIDENCE, st.integers(2, 50), st.data())
def test_only_what_is_asked_for_counts_and_only_in_proportion(
    columns: list[str], evidence: dict[str, dict[str, int]], factor: int, data: st.DataObject
) -> None:
    morphology = parse(", ".join(columns), WORDS)
    assume(any(counts.get(column, 0) for counts in evidence.values() for column in columns))
    survey = pick_survey(morphology, evidence, WORDS).survey
    others = {
        name: {
            column: counts.get(column, 0) if column in columns else data.draw(st.integers(0, 9)) for column in counts
        }
        for name, counts in evidence.items()
    }
    assert pick_survey(morphology, others, WORDS).survey == survey
    scaled = {name: {column: n * factor for column, n in counts.items()} for name, counts in evidence.items()}
    again = pick_survey(morphology, scaled, WORDS).survey
    assert again == survey or harmonic(evidence, again, columns) == pytest.approx(harmonic(evidence, survey, columns))


def harmonic(evidence: dict[str, dict[str, int]], survey: str | None, columns: list[str]) -> float:
    """The harmonic mean of the counts that are not 0."""
    assert survey is not None
    counts = [n for column in columns if (n := evidence[survey].get(column, 0))]
    return len(counts) / sum(1 / n for n in counts) if counts else 0.0


@settings(max_examples=50, deadline=None)
@given(ASKED, EVIDENCE, st.sampled_from(SURVEYS))
def test_a_named_survey_stays_whatever_the_evidence(
    columns: list[str], evidence: dict[str, dict[str, int]], survey: str
) -> None:
    assert pick_survey(parse(f"{survey}, {', '.join(columns)}", WORDS), evidence, WORDS) == (survey, "")
