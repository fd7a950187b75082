"""The Kaggle challenge: cumulative fractions become conditional."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxysd.catalog.catalog import Catalog
from galaxysd.catalog.readers import read_votes
from galaxysd.catalog.tree import DecisionTree
from galaxysd.errors import InputError

TREE = DecisionTree.load("gz2")
CLASSES = [
    f"Class{number}.{answer}"
    for number, question in enumerate(TREE.questions, start=1)
    for answer in range(1, len(question.answers) + 1)
]


def read(folder: Path, **classes: float) -> Catalog:
    """One galaxy with the given classes (`c7_1=0.4` is Class7.1), the rest 0."""
    given_ = {f"Class{name[1:].replace('_', '.')}": value for name, value in classes.items()}
    path = folder / "solutions.csv"
    pl.DataFrame({"GalaxyID": [100008], **{name: [given_.get(name, 0.0)] for name in CLASSES}}).write_csv(path)
    return read_votes(path, tree=TREE, survey="sdss")


def test_the_example_of_the_challenge(tmp_path: Path) -> None:
    frame = read(tmp_path, c1_1=0.8, c1_2=0.2, c7_1=0.4, c7_2=0.2, c7_3=0.2).frame
    rounded = [frame[column][0] for column in TREE.by_key["t07_rounded"].columns]
    assert rounded == pytest.approx([0.5, 0.25, 0.25])
    assert frame["t02_edgeon_a04_yes"][0] is None, "nobody reached it"
    assert frame["t07_rounded_votes"][0] is None
    assert (frame["id"][0], frame["file"][0]) == ("100008", "100008.jpg")


@settings(max_examples=25, deadline=None)
@given(disk=st.floats(0.05, 1), edge_on=st.floats(0, 0.95), bar=st.floats(0, 1))
def test_multiplying_down_the_path_gives_the_published_values_back(
    tmp_path_factory: pytest.TempPathFactory, disk: float, edge_on: float, bar: float
) -> None:
    way = disk * (1 - edge_on)
    published = {"c1_1": 1 - disk, "c1_2": disk, "c2_1": disk * edge_on, "c2_2": way}
    published |= {"c3_1": way * bar, "c3_2": way * (1 - bar)}
    catalog = read(tmp_path_factory.mktemp("kaggle"), **published)
    index = list(TREE.by_key).index("t03_bar")
    assert catalog.frame["t03_bar_a06_bar"][0] * catalog.reach()[0, index] == pytest.approx(way * bar, abs=1e-5)


def test_bad_tables(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Class1\.1.*7\.5"):
        read(tmp_path, c1_1=7.5)
    path = tmp_path / "solutions.csv"
    pl.read_csv(path).drop("Class11.6").write_csv(path)
    with pytest.raises(InputError, match=r"'Class11\.6' missing"):
        read_votes(path, tree=TREE, survey="sdss")
    with pytest.raises(InputError, match="stage"):
        read_votes(path, tree=DecisionTree.load("efigi"), survey="sdss")
