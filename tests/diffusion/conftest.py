"""What several tests of the room share."""

from pathlib import Path

import pytest

from galaxysd.catalog import DecisionTree, read_votes
from galaxysd.data.build import build_dataset
from galaxysd.data.framing import Framing
from galaxysd.data.sources import ImageSource
from galaxysd.data.toy_survey import make_toy_survey


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder of 80 toy galaxies, 16 px."""
    folder = tmp_path_factory.mktemp("toy")
    make_toy_survey(folder / "survey", n=80, seed=0, size=32)
    catalog = read_votes(folder / "survey" / "votes.csv", tree=DecisionTree.load("gz2"), survey="toy")
    build_dataset(
        catalog,
        ImageSource(folder / "survey" / "images"),
        out=folder / "dataset",
        framing=Framing(size=16),
        survey="toy",
    )
    return folder / "dataset"
