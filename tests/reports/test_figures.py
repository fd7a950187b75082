"""Drawings: whole PNG files of the promised size that show what they were given and leave nothing global behind."""

import io
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from PIL import Image

from galaxysd.catalog.tree import DecisionTree
from galaxysd.metrics.consistency import Calibration, Reading, calibration
from galaxysd.metrics.power_spectrum import Curve
from galaxysd.reports import figures
from galaxysd.reports.contact_sheet import GROUND
from galaxysd.stats import Estimate, Score

LABELS = {"gini": "Gini", "m20": "M20"}


def table(n: int, shift: float, failed: int = 1) -> pl.DataFrame:
    rng = np.random.default_rng(n)
    columns = {name: [*(rng.normal(shift, 1, n)), *[None] * failed] for name in LABELS}
    kinds = dict.fromkeys(LABELS, pl.Float64) | {"measured": pl.Boolean}
    return pl.DataFrame(columns | {"measured": [True] * n + [False] * failed}, schema=kinds)


def estimate(value: float) -> Estimate:
    return Estimate(value=value, low=value - 0.1, high=value + 0.1, n=100)


def curve(height: float) -> Curve:
    frequency = np.geomspace(0.02, 0.5, 8)
    return Curve(frequency, height / frequency, 0.9 * height / frequency, 1.1 * height / frequency)


def one_score(value: float | None) -> Score:
    own = {"value": None, "low": None, "high": None, "note": "generated: 3 galaxies, at least 10 are needed"}
    if value is not None:
        own = {"value": value, "low": value - 0.1, "high": value + 0.1, "note": None}
    return Score(**own, n=100, seed=0, real_baseline=estimate(0.2), negative_controls={"noise": 9.0, "blurred": None})


def readers(seed: int) -> Calibration:
    rng, tree = np.random.default_rng(seed), DecisionTree.load("gz2")
    asked = rng.random((50, len(tree.columns)))
    return calibration(Reading(asked, np.ones((50, len(tree.questions)), bool), asked**1.3, tree))


def shares(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(256), (4, 3))


TABLES = {"real": table(300, 0.0), "generated": table(60, 1.0)}
POINTS = [figures.Point(f"guidance {index}", 0.5 + 0.01 * index, 0.5, 0.1 * index) for index in range(4)]
DRAWINGS: dict[str, tuple[Callable[[], bytes], tuple[int, int]]] = {
    "distributions": (lambda: figures.distributions(TABLES, LABELS, columns=2), (1080, 270)),
    "corner": (lambda: figures.corner(TABLES, LABELS), (1080, 1080)),
    "spectra": (
        lambda: figures.spectra({"real": curve(1), "generated": curve(2)}, {"generated": curve(2)}),
        (1080, 420),
    ),
    "histograms": (lambda: figures.histograms({"real": shares(0), "generated": shares(1)}), (1080, 330)),
    "strip_chart": (lambda: figures.strip_chart({"a": one_score(3.0), "b": one_score(None)}), (1080, 192)),
    "reliability": (lambda: figures.reliability({"real": readers(0), "generated": readers(1)}), (620, 560)),
    "front": (lambda: figures.front(POINTS), (820, 560)),
}


def pixels(png: bytes) -> np.ndarray:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_is_a_picture_of_its_size_on_the_ground(name: str) -> None:
    draw, size = DRAWINGS[name]
    png = draw()
    found = pixels(png)
    assert found.shape == (size[1], size[0], 3)
    edge = np.concatenate([found[0], found[-1], found[:, 0], found[:, -1]])
    assert (edge == GROUND).all(axis=-1).mean() > 0.97  # nothing runs out of the picture
    assert (found != GROUND).any(axis=-1).mean() > 0.01
    assert draw() == png


def test_what_is_drawn_depends_on_what_is_given() -> None:
    assert figures.distributions(TABLES, LABELS) != figures.distributions(
        TABLES | {"generated": table(60, 3.0)}, LABELS
    )
    assert figures.strip_chart({"a": one_score(3.0)}) != figures.strip_chart({"a": one_score(4.0)})
    assert figures.front(POINTS) != figures.front(POINTS[:3])


def test_a_set_without_measured_galaxies_is_left_out() -> None:
    for draw in (figures.distributions, figures.corner):
        assert pixels(draw({"real": table(30, 0.0), "generated": table(0, 0.0)}, LABELS)).size


def test_pyplot_stays_out() -> None:
    code = (
        "import sys; from galaxysd.reports import figures; assert 'matplotlib' not in sys.modules;"
        "figures.front([figures.Point('a', 1, 2, 3)]);"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
