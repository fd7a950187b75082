"""Hard classes as answers, built in and a user's own."""

from pathlib import Path

import pytest

from galaxysd.catalog.readers import read_votes
from galaxysd.catalog.tree import DecisionTree
from galaxysd.errors import InputError

TREE = DecisionTree.load("gz2")
OWN = """
name: mine
id: name
columns:
  kind:
    E: [t01_smooth_or_features_a01_smooth]
    S: [t01_smooth_or_features_a02_features_or_disk, t04_spiral_a08_spiral]
"""


def test_a_class_says_its_answers_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(OWN)
    (tmp_path / "mine.csv").write_text("name,kind,ra,dec\nn1,E,10,20\nn2,S,11,20\nn3,?,12,20\nn4,,12,21\n")
    frame = read_votes(tmp_path / "mine.csv", tree=TREE, survey="mine", classes=tmp_path / "mine.yaml").frame
    assert frame["id"].to_list() == ["n1", "n2", "n3", "n4"]
    assert frame["t01_smooth_or_features_a01_smooth"].to_list() == [1, 0, None, None]
    assert frame["t01_smooth_or_features_a03_star_or_artifact"].to_list() == [0, 0, None, None]
    assert frame["t04_spiral_a08_spiral"].to_list() == [None, 1, None, None]
    assert frame["t07_rounded_a17_in_between"].is_null().all()
    assert frame["source_kind"].to_list() == ["E", "S", "?", None]
    assert frame["ra"].to_list() == [10, 11, 12, 12]


def test_bad_class_maps(tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("name,type\nn1,E\n")
    own = tmp_path / "mine.yaml"
    own.write_text(OWN)
    with pytest.raises(InputError, match="'kind' missing"):
        read_votes(table, tree=TREE, survey="mine", classes=own)
    own.write_text(OWN.replace("kind:", "type:").replace("a08_spiral", "a08_spirale"))
    with pytest.raises(InputError, match="a08_spirale"):
        read_votes(table, tree=TREE, survey="mine", classes=own)
    own.write_text("name: mine\n")
    with pytest.raises(InputError, match=r"mine\.yaml.*columns"):
        read_votes(table, tree=TREE, survey="mine", classes=own)


def test_the_real_set(galaxy_data: Path) -> None:
    frame = read_votes(galaxy_data / "gz_kaggle" / "catalogue.csv.gz", tree=TREE, survey="kaggle").frame
    assert frame.height == 8346
    counts = {column: frame[column].sum() for column in TREE.columns if frame[column].sum()}
    assert counts["t07_rounded_a16_completely_round"] == 778
    assert counts["t07_rounded_a17_in_between"] == pytest.approx(772, abs=2), "2 rows were taken out of the set"
    assert counts["t07_rounded_a18_cigar_shaped"] == 56
    assert counts["t02_edgeon_a04_yes"] == 362
    assert counts["t04_spiral_a08_spiral"] == 1372
    known = frame["t01_smooth_or_features_a01_smooth"].is_not_null().sum()
    assert known == pytest.approx(3340 + 1412, abs=2), "with fine classes, and known as smooth or featured only"
