"""The tiny model for the tests of generation."""

from pathlib import Path

import pytest
from tiny_model import save_tiny_model

from galaxysd.diffusion.pipeline import GalaxyPipeline


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder."""
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def pipeline(model_folder: Path) -> GalaxyPipeline:
    """The model in it."""
    return GalaxyPipeline.from_pretrained(model_folder)
