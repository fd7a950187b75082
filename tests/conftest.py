"""Fixtures every test may use."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def galaxy_data() -> Path:
    """The folder of real galaxies; the test skips where it is not there."""
    folder = Path(os.environ.get("GALAXYSD_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "README.md").is_file():
        pytest.skip(f"galaxy data not found at {folder}")
    return folder
