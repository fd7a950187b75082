"""The one door: schemas are recognised, strangers are told what was looked for."""

from pathlib import Path

import pytest

from galaxysd.catalog.readers import read_votes
from galaxysd.catalog.tree import DecisionTree
from galaxysd.errors import InputError

TREE = DecisionTree.load("gz2")


def test_a_catalogue_of_another_survey(tmp_path: Path) -> None:
    path = tmp_path / "eagle.csv"
    path.write_text("SnapNum,Redshift,Mass_Star\n27,0.1,1e10\n")
    with pytest.raises(InputError) as caught:
        read_votes(path, tree=TREE, survey="sdss")
    for word in ("eagle.csv", "another survey", "SnapNum", "weighted_fraction", "Class1.1", "PGCname", "galaxynet5"):
        assert word in str(caught.value)


def test_choices_of_galaxy_zoo_are_refused_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("id,t06_odd_a14_yes,t06_odd_a15_no\nA,0.5,0.5\n")
    with pytest.raises(InputError, match="'fractions'"):
        read_votes(path, tree=TREE, survey="sdss", fractions="debiased")
    with pytest.raises(InputError, match="'mapping'"):
        read_votes(path, tree=TREE, survey="sdss", mapping=path)


def test_a_schema_can_be_demanded(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("id,t06_odd_a14_yes,t06_odd_a15_no\nA,0.5,0.5\n")
    assert len(read_votes(path, tree=TREE, survey="sdss", schema="table")) == 1
    with pytest.raises(InputError, match="GalaxyID"):
        read_votes(path, tree=TREE, survey="sdss", schema="kaggle")
    with pytest.raises(InputError, match="gz_kaggle"):
        read_votes(path, tree=TREE, survey="sdss", schema="classes")
