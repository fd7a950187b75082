"""A toy survey and tiny models that several tests of this package judge."""

from pathlib import Path

import pytest
from tiny_model import save_tiny_model

from galaxysd.catalog import DecisionTree, read_votes
from galaxysd.data.build import build_dataset
from galaxysd.data.framing import Framing
from galaxysd.data.sources import ImageSource
from galaxysd.data.toy_survey import make_toy_survey


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders: `data`, a dataset of 260 toy galaxies at 32 px; `model` and `other`; `cache`, where reports look."""
    folder = tmp_path_factory.mktemp("evaluate")
    make_toy_survey(folder / "survey", n=260, seed=0, size=32)
    catalog = read_votes(folder / "survey" / "votes.csv", tree=DecisionTree.load("gz2"), survey="sdss")
    with ImageSource(folder / "survey" / "images") as images:
        build_dataset(catalog, images, out=folder / "dataset", framing=Framing(size=32), survey="sdss")
    save_tiny_model(folder / "model", size=32)
    save_tiny_model(folder / "other", size=16, seed=1)
    names = {"data": "dataset", "model": "model", "other": "other", "cache": "evaluation-cache"}
    return {key: folder / name for key, name in names.items()}
