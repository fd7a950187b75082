"""Any table in the language of a user's own tree."""

from pathlib import Path

import pytest

from galaxysd.catalog.readers import read_votes
from galaxysd.catalog.tree import DecisionTree, Question
from galaxysd.errors import InputError

TREE = DecisionTree(
    name="own",
    questions=(
        Question(key="kind", text="?", answers=("smooth", "disk")),
        Question(key="tail", text="?", answers=("yes", "no")),
    ),
)


def read(folder: Path, text: str) -> dict[str, list[object]]:
    (folder / "own.csv").write_text(text)
    return read_votes(folder / "own.csv", tree=TREE, survey="own").frame.to_dict(as_series=False)


def test_fractions_with_votes(tmp_path: Path) -> None:
    rows = read(tmp_path, "id,kind_smooth,kind_disk,kind_votes,colour\nA,0.5,0.5,10,red\nB,0,0,0,blue\n")
    assert rows["kind_smooth"] == [0.5, None]
    assert rows["kind_votes"] == [10, 0]
    assert rows["tail_yes"] == [None, None]
    assert rows["source_colour"] == ["red", "blue"]


def test_without_votes_all_zero_means_not_asked(tmp_path: Path) -> None:
    assert read(tmp_path, "id,kind_smooth,kind_disk\nA,0,1\nB,0,0\n")["kind_smooth"] == [0, None]


def test_counts_beside_fractions(tmp_path: Path) -> None:
    rows = read(
        tmp_path,
        "iauname,kind_smooth,kind_smooth_fraction,kind_disk,kind_disk_fraction,kind_total-votes\nJ1,30,0.75,10,0.25,40\n",
    )
    assert (rows["kind_smooth"], rows["kind_votes"], rows["source_kind_smooth"]) == ([0.75], [40], [30])


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("kind_smooth,kind_disk\n0.5,0.5\n", "no galaxy ids"),
        ("id,kind_smooth,kind_disk,tail_yes\nA,0.5,0.5,1\n", "'tail_no' missing"),
        ("id,kind_smooth,kind_disk\nA,50,50\n", "expected a fraction"),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, word: str) -> None:
    with pytest.raises(InputError, match=word):
        read(tmp_path, text)
