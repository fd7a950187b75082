"""A toy survey as a dataset folder, for the tests of the search."""

from pathlib import Path

from galaxysd.catalog import DecisionTree, read_votes
from galaxysd.data.build import build_dataset
from galaxysd.data.framing import Framing
from galaxysd.data.sources import ImageSource
from galaxysd.data.toy_survey import make_toy_survey


def toy_dataset(folder: Path, *, n: int, size: int = 16) -> Path:
    """`n` toy galaxies with votes."""
    make_toy_survey(folder / "toy", n=n, seed=0, size=32)
    catalog = read_votes(folder / "toy" / "votes.csv", tree=DecisionTree.load("gz2"), survey="sdss")
    with ImageSource(folder / "toy" / "images") as images:
        build_dataset(catalog, images, out=folder / "dataset", framing=Framing(size=size), survey="sdss")
    return folder / "dataset"
