"""Decision trees: the built-in ones, a user's own, their union, and what is refused."""

from pathlib import Path

import pytest

from galaxysd.catalog.tree import DecisionTree
from galaxysd.errors import InputError

OWN = """
name: own
questions:
  - {key: shape, text: "Shape?", answers: [round, flat]}
  - {key: lane, text: "Lane?", answers: ["yes", "no"], after: [shape_flat]}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    return path


def test_gz2_has_11_tasks_37_answers_and_no_a35() -> None:
    tree = DecisionTree.load("gz2")
    assert len(tree.questions) == 11 and len(tree.columns) == 37
    ids = {int(part[1:]) for name in tree.columns for part in name.split("_") if part[0] == "a" and part[1:].isdigit()}
    assert ids == set(range(1, 39)) - {35}
    assert tree.question_of["t08_odd_feature_a38_dust_lane"].key == "t08_odd_feature"


def test_ancestors_go_up_from_the_last_previous_answer() -> None:
    tree = DecisionTree.load("gz2")
    assert tree.ancestors("t11_arms_number") == (
        "t04_spiral_a08_spiral",
        "t02_edgeon_a05_no",
        "t01_smooth_or_features_a02_features_or_disk",
    )
    assert tree.ancestors("t01_smooth_or_features") == ()


def test_well_sampled_cuts_are_those_of_table_3() -> None:
    cuts = {question.key[:3]: question.well_sampled for question in DecisionTree.load("gz2").questions}
    assert cuts == {
        "t01": None,
        "t02": (0.227, 0.430),
        "t03": (0.519, 0.715),
        "t04": (0.519, 0.715),
        "t05": (0.519, 0.715),
        "t06": None,
        "t07": (0.263, 0.469),
        "t08": (0.223, 0.420),
        "t09": (0.326, 0.602),
        "t10": (0.402, 0.619),
        "t11": (0.402, 0.619),
    }


def test_union_shares_equal_questions() -> None:
    gz2, efigi = DecisionTree.load("gz2"), DecisionTree.load("efigi")
    both = gz2.union(efigi)
    assert len(both.questions) == 12 and both.columns[:37] == gz2.columns
    assert gz2.union(gz2) is gz2
    assert set(efigi.columns) <= set(both.columns)


def test_union_of_conflicting_answers_is_refused(tmp_path: Path) -> None:
    one = DecisionTree.load(write(tmp_path, OWN))
    other = DecisionTree.load(write(tmp_path, OWN.replace("[round, flat]", "[round, flat, none]")))
    with pytest.raises(InputError, match="'shape' has different answers"):
        one.union(other)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("key: lane", "key: shape", "question keys repeat"),
        ("shape_flat", "shape_square", "unknown answers"),
        ('text: "Shape?",', 'text: "Shape?", after: [lane_yes],', "asked after itself"),
        ("[round, flat]", "[round]", "at least 2"),
        ("key: lane", "key: Lane!", "match pattern"),
        ("name: own", "name: own\ncolour: red", "colour"),
        ("questions:", "questions: {", "not valid YAML"),
        ("name: own", "name: own\nname: own", "'name' is there twice"),
    ],
)
def test_a_wrong_tree_is_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        DecisionTree.load(write(tmp_path, OWN.replace(old, new)))
    assert "\n" not in str(caught.value) and "own.yaml" in str(caught.value)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"neither a built-in tree \(efigi, gz2\)"):
        DecisionTree.load("gz9")
