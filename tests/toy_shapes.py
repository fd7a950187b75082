"""Drawn shapes that a tiny network can learn, and a toy dataset."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from galaxysd.catalog import DecisionTree, read_votes
from galaxysd.classifiers.network import ClassifierNetwork
from galaxysd.classifiers.train import ClassifierSettings
from galaxysd.data.build import build_dataset
from galaxysd.data.framing import Framing
from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.data.sources import ImageSource
from galaxysd.data.toy_survey import make_toy_survey
from galaxysd.training.fit import FitSettings

SIDE = 16
SHAPES = ("disc", "bar", "ring")


def draw_shapes(
    n: int, *, seed: int = 0, noise: float = 12.0, synthetic: bool = False, shares: object = None
) -> GalaxySet:
    """N noisy discs, bars and rings in grey, of labels 0 to 2."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, n, p=shares)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    radius = np.hypot(x, y)
    planes = np.stack(
        [np.exp(-((radius / 4) ** 2)), np.exp(-((y / 1.5) ** 2 + (x / 7) ** 2)), np.exp(-((radius - 5) ** 2))]
    )
    grey = 40 + 120 * planes[labels] * rng.uniform(0.7, 1.2, (n, 1, 1)) + rng.normal(0, noise, (n, SIDE, SIDE))
    images = np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=3)
    ids = tuple(f"{'synthetic' if synthetic else 'drawn'}:{seed * 100_000 + index}" for index in range(n))
    place = np.full(n, np.nan) if synthetic else rng.uniform(0, 80, n)
    return GalaxySet(images, ids, labels=labels, synthetic=synthetic, ra=place, dec=place)


@pytest.fixture(scope="session")
def shapes() -> Callable[..., GalaxySet]:
    """`shapes(n, seed=..., noise=..., synthetic=...)`: see `draw_shapes`."""
    return draw_shapes


@pytest.fixture(scope="session")
def shape_names() -> tuple[str, ...]:
    return SHAPES


@pytest.fixture(scope="session")
def tiny() -> ClassifierSettings:
    """A network that learns the shapes in a second."""
    return ClassifierSettings(
        network=ClassifierNetwork(widths=(8, 16), depths=(1, 1)),
        images=1_920,
        fit=FitSettings(batch=32, learning_rate=0.01, warmup=64, cooldown=0.9, log_every=320, snapshot_every=960),
    )


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder of 160 toy galaxies with votes, 16 px."""
    folder = tmp_path_factory.mktemp("toy")
    make_toy_survey(folder / "survey", n=160, seed=0, size=32)
    catalog = read_votes(folder / "survey" / "votes.csv", tree=DecisionTree.load("gz2"), survey="toy")
    source = ImageSource(folder / "survey" / "images")
    build_dataset(catalog, source, out=folder / "dataset", framing=Framing(size=SIDE), survey="toy")
    return folder / "dataset"
