"""A toy dataset that several tests of the encoder read."""

from pathlib import Path

import pytest

from galaxysd.catalog import DecisionTree, read_votes
from galaxysd.data.build import build_dataset
from galaxysd.data.framing import Framing
from galaxysd.data.sources import ImageSource
from galaxysd.data.toy_survey import make_toy_survey


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `dataset`, 60 toy galaxies at 16 px, and `survey`, what it was built from."""
    folder = tmp_path_factory.mktemp("toy")
    make_toy_survey(folder / "survey", n=60, seed=0, size=32)
    catalog = read_votes(folder / "survey" / "votes.csv", tree=DecisionTree.load("gz2"), survey="toy")
    source = ImageSource(folder / "survey" / "images")
    build_dataset(catalog, source, out=folder / "dataset", framing=Framing(size=16), survey="toy")
    return folder
