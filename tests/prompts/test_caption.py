"""Captions: the rule from votes to words, and `parse` as its exact inverse."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxysd.catalog.tree import DecisionTree
from galaxysd.errors import InputError
from galaxysd.prompts import Morphology, Vocabulary, asking_order, caption, caption_row, parse
from galaxysd.prompts.vocabulary import FILLERS

GZ2 = DecisionTree.load("gz2")
EFIGI = DecisionTree.load("efigi")
WORDS = Vocabulary.load(GZ2, ["sdss", "sdss-r90"])


def one_hot(*columns: str, tree: DecisionTree = GZ2) -> dict[str, float]:
    return {name: float(name == column) for column in columns for name in tree.question_of[column].columns}


def test_caption_says_the_largest_answer_of_each_known_question_in_asking_order() -> None:
    morphology = Morphology(
        survey="sdss",
        fractions=one_hot("t10_arms_winding_a28_tight", "t06_odd_a15_no", "t04_spiral_a08_spiral")
        | {"t03_bar_a06_bar": 0.4, "t03_bar_a07_no_bar": 0.6},
        weights={"t04_spiral_a08_spiral": 1.3, "t03_bar_a06_bar": 2.0},
    )
    assert caption(morphology, WORDS) == "sdss, no bar, {spiral galaxy:1.3}, tightly wound spiral arms, nothing odd"
    assert caption(Morphology(survey="sdss"), WORDS) == "sdss"
    assert caption(Morphology(), WORDS) == ""


def test_asking_order_follows_the_published_tree() -> None:
    tasks = [int(key[1:3]) for key in asking_order(GZ2)]
    assert tasks == [1, 2, 3, 4, 10, 11, 5, 9, 7, 6, 8]
    assert asking_order(GZ2.union(EFIGI))[-1] == "stage"


def test_order_can_be_chosen_and_must_be_complete() -> None:
    morphology = Morphology(fractions=one_hot("t03_bar_a06_bar", "t06_odd_a15_no"))
    assert caption(morphology, WORDS, order=asking_order(GZ2)[::-1]).startswith("nothing odd, bar")
    with pytest.raises(InputError, match="caption order"):
        caption(morphology, WORDS, order=["t03_bar"])


def test_unknown_survey_is_named() -> None:
    with pytest.raises(InputError, match="'hst' is not known here; known: sdss, sdss-r90"):
        caption(Morphology(survey="hst"), WORDS)


ROW = {
    "t01_smooth_or_features_a01_smooth": 0.2,
    "t01_smooth_or_features_a02_features_or_disk": 0.8,
    "t01_smooth_or_features_a03_star_or_artifact": 0.0,
    "t02_edgeon_a04_yes": 0.1,
    "t02_edgeon_a05_no": 0.9,
    "t03_bar_a06_bar": 0.45,
    "t03_bar_a07_no_bar": 0.55,
    "t04_spiral_a08_spiral": 0.7,
    "t04_spiral_a09_no_spiral": 0.3,
    "t07_rounded_a16_completely_round": 1.0,
    "t07_rounded_a17_in_between": 0.0,
    "t07_rounded_a18_cigar_shaped": 0.0,
    "t10_arms_winding_a28_tight": 0.4,
    "t10_arms_winding_a29_medium": 0.35,
    "t10_arms_winding_a30_loose": 0.25,
}


def test_row_caption_leaves_out_what_was_not_reached_or_not_agreed_on() -> None:
    morphology = Morphology(survey="sdss", fractions=ROW)
    said = "sdss, features or disk-shaped, disk not edge-on, no bar, spiral galaxy"
    assert caption_row(morphology, WORDS) == said
    assert caption_row(morphology, WORDS, threshold=0.4) == said + ", tightly wound spiral arms"
    assert caption_row(morphology, WORDS, threshold=0.6) == said.replace(", no bar", "")
    assert "completely round" in caption(morphology, WORDS)  # caption itself says everything known


def test_row_caption_needs_every_answer_on_the_way() -> None:
    not_a_disk = ROW | {"t01_smooth_or_features_a01_smooth": 0.6, "t01_smooth_or_features_a02_features_or_disk": 0.4}
    assert caption_row(Morphology(fractions=not_a_disk), WORDS) == "smooth, completely round galaxy"
    way_unknown = one_hot("t11_arms_number_a32_2")
    assert caption_row(Morphology(fractions=way_unknown), WORDS) == ""


# Parts of keys that may clash with each other, with fillers, with built-in phrases and with column names.
PARTS = st.sampled_from(["a", "the", "galaxy", "bar", "no", "t03", "a06", "spiral", "2", "x", "of"])
KEYS = st.builds(lambda parts, joint: joint.join(parts), st.lists(PARTS, min_size=1, max_size=3), st.sampled_from("-_"))


@st.composite
def trees(draw: st.DrawFn) -> DecisionTree:
    questions = []
    columns: list[str] = []
    taken: set[str] = set()
    for key in draw(st.lists(KEYS, min_size=1, max_size=4, unique=True)):
        answers = draw(st.lists(KEYS, min_size=2, max_size=4, unique=True))
        mine = {f"{key}_{answer}" for answer in answers}
        if mine & taken:
            continue
        after = draw(st.lists(st.sampled_from(columns), max_size=2, unique=True)) if columns else []
        questions.append({"key": key, "text": "?", "answers": answers, "after": after})
        columns.extend(sorted(mine))
        taken |= mine
    return DecisionTree.parse({"name": "random", "questions": questions}, "random")


@st.composite
def morphologies(draw: st.DrawFn, tree: DecisionTree, surveys: list[str]) -> Morphology:
    share = st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0.0, 1.0))
    weight = st.one_of(st.sampled_from([1.0, 1.3, 5.0]), st.floats(1e-6, 5.0))
    fractions = {
        column: draw(share) for question in tree.questions if draw(st.booleans()) for column in question.columns
    }
    weights = {column: draw(weight) for column in fractions if draw(st.booleans())}
    return Morphology(survey=draw(st.sampled_from([None, *surveys])), fractions=fractions, weights=weights)


SURVEYS = ["survey", "survey-two", "survey_the"]


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_parse_is_the_exact_inverse_on_random_trees(data: st.DataObject) -> None:
    tree = data.draw(trees())
    vocabulary = Vocabulary.load(tree, SURVEYS)
    morphology = data.draw(morphologies(tree, SURVEYS))
    said = caption(morphology, vocabulary)
    assert parse(said, vocabulary) == morphology.rounded(tree)
    assert caption(parse(said, vocabulary), vocabulary) == said


@pytest.mark.parametrize("tree", [GZ2, EFIGI, GZ2.union(EFIGI)], ids=lambda tree: tree.name)
def test_parse_is_the_exact_inverse_on_built_in_trees(tree: DecisionTree) -> None:
    vocabulary = Vocabulary.load(tree, ["sdss", "efigi"])

    @settings(max_examples=40, deadline=None)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        morphology = data.draw(morphologies(tree, ["sdss", "efigi"]))
        order = data.draw(st.permutations(asking_order(tree)))
        assert parse(caption(morphology, vocabulary, order=order), vocabulary) == morphology.rounded(tree)

    check()


def test_random_trees_do_meet_fillers_and_clashes() -> None:
    tree = DecisionTree.parse(
        {
            "name": "clash",
            "questions": [
                {"key": "a-bar", "text": "?", "answers": ["x", "the-x"]},
                {"key": "a_bar", "text": "?", "answers": ["x", "of"]},
            ],
        },
        "clash",
    )
    vocabulary = Vocabulary.load(tree, [])
    assert len({vocabulary.phrase(column) for column in tree.columns}) == 4
    assert {"a", "the", "of"} <= FILLERS
    for column in tree.columns:
        morphology = Morphology(fractions=one_hot(column, tree=tree))
        assert parse(caption(morphology, vocabulary), vocabulary) == morphology
