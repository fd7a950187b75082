"""The arithmetic behind the benchmarks: statistics, labels, neighbours, and measurements of other processes."""

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from galaxysd.catalog.catalog import Catalog, complete
from galaxysd.catalog.tree import DecisionTree
from galaxysd.data.dataset import Dataset

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))  # scripts, not a package

import measure
import probe
import training


def test_rows_say_whether_the_target_is_reached() -> None:
    assert measure.at_least("speed", 20.0, 20, "/s").ok and not measure.at_least("speed", 19.9, 20, "/s").ok
    assert measure.at_most("time", 5.0, 5, "s").ok and not measure.at_most("time", 5.1, 5, "s").ok
    assert measure.at_most("time", 1234.5, 5, "s").value == "1,234.5 s"


def test_a_process_is_measured_without_the_memory_of_this_one() -> None:
    ballast = np.ones(40_000_000)  # 320 MB
    small = measure.run_process([sys.executable, "-c", "pass"])
    large = measure.run_process([sys.executable, "-c", "import time; x = b'1' * 200_000_000; time.sleep(0.2)"])
    assert ballast.sum() == 40_000_000
    assert small.peak_mb < 100
    assert 170 < large.peak_mb - small.peak_mb < 210
    assert large.seconds > 0.2
    with pytest.raises(RuntimeError, match="exit code 3"):
        measure.run_process([sys.executable, "-c", "raise SystemExit(3)"])


def test_macro_accuracy_weighs_classes_alike() -> None:
    labels = np.repeat(np.arange(4), [90, 5, 5, 10])
    right = labels != 1  # all but one class
    value, low, high = probe.macro(right, labels, seed=0)
    assert value == low == high == 0.75
    right[0:45] = False
    value, low, high = probe.macro(right, labels, seed=0)
    assert value == 0.625 and 0.59 < low < 0.625 < high < 0.66


def votes(**fractions: float) -> dict[str, float]:
    """A galaxy's fractions and votes: what is not named is as a clear unbarred spiral has it."""
    row = {"smooth": 0.1, "edge": 0.1, "spiral": 0.9, "bar": 0.1, "n": 20.0} | fractions
    pairs = {
        "t01_smooth_or_features": {"a01_smooth": row["smooth"], "a02_features_or_disk": 1 - row["smooth"]},
        "t02_edgeon": {"a04_yes": row["edge"], "a05_no": 1 - row["edge"]},
        "t03_bar": {"a06_bar": row["bar"], "a07_no_bar": 1 - row["bar"]},
        "t04_spiral": {"a08_spiral": row["spiral"], "a09_no_spiral": 1 - row["spiral"]},
    }
    found = {f"{key}_{answer}": value for key, answers in pairs.items() for answer, value in answers.items()}
    return {**found, "t01_smooth_or_features_a03_star_or_artifact": 0.0, **{f"{key}_votes": row["n"] for key in pairs}}


def test_classes_follow_the_rule() -> None:
    rows = {
        "smooth": votes(smooth=0.8),
        "hardly smooth": votes(smooth=0.6),
        "edge-on": votes(edge=0.9),
        "edge-on, not reached": votes(smooth=0.55, edge=0.9),
        "spiral": votes(),
        "spiral, few votes": votes(n=4),
        "spiral, perhaps barred": votes(bar=0.5),
        "spiral, seen from the side": votes(edge=0.6),
        "bar": votes(bar=0.8),
        "bar without arms": votes(bar=0.8, spiral=0.1),
    }
    tree = DecisionTree.load("gz2")
    frame = pl.DataFrame([{"id": name, "file": None, "ra": None, "dec": None, **row} for name, row in rows.items()])
    labels = probe.classes_of(Catalog(complete(frame, tree), tree, "sdss"))
    named = dict(zip(rows, labels.tolist(), strict=True))
    expected = {"smooth": 0, "edge-on": 1, "spiral": 2, "bar": 3, "bar without arms": 3}
    assert named == {name: expected.get(name, -1) for name in rows}


def test_the_peer_is_of_equal_size() -> None:
    channels, parameters, cost = training.equal_peer(13_000_000)
    assert parameters == sum(weight.numel() for weight in training.peer(channels).parameters())
    assert abs(parameters / 13_000_000 - 1) <= 0.1 and cost > 1


def test_toy_galaxies_are_copied_under_other_names(tmp_path: Path) -> None:
    dataset = Dataset.open(training.toy_dataset(tmp_path, galaxies=25, rendered=10))
    assert len(dataset) == 25 and dataset.info.rejected_rows == 0 and dataset.info.images_without_row == 5
    assert len(set(dataset.catalog.frame["split"])) > 1
