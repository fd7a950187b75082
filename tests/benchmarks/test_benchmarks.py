"""The arithmetic behind the benchmarks: statistics, labels, neighbours, and measurements of other processes."""

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st

from galaxysd.catalog.catalog import Catalog, complete
from galaxysd.catalog.tree import DecisionTree
from galaxysd.diffusion.data import dihedral
from galaxysd.images.dataset import Dataset

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))  # scripts, not a package

import consistency
import measure
import nearest
import reader
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


def test_wilson_interval() -> None:
    assert consistency.wilson(8, 10) == pytest.approx((0.490, 0.943), abs=1e-3)  # a textbook's example
    assert consistency.wilson(10, 10)[1] == pytest.approx(1.0)
    assert consistency.wilson(0, 10)[0] == pytest.approx(0.0)


@given(st.integers(0, 2**32 - 1), st.floats(0.2, 3))
def test_frechet_distance_is_the_one_with_a_matrix_root(seed: int, stretch: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(60, 5)), stretch * rng.normal(size=(50, 5)) @ rng.normal(size=(5, 5)) + 0.3
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(first @ second).real
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(first + second - 2 * root)
    assert consistency.frechet_distance(a, b) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert consistency.frechet_distance(b, a) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_frechet_distance_grows_with_the_difference() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(400, 4))
    assert consistency.frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert consistency.frechet_distance(a, a + np.array([2, 0, 0, 0])) == pytest.approx(4)  # the means alone
    assert consistency.frechet_distance(a, 3 * a) > consistency.frechet_distance(a, 2 * a) > 0.5


def test_macro_accuracy_weighs_classes_alike() -> None:
    labels = np.repeat(np.arange(4), [90, 5, 5, 10])
    right = labels != 1  # all but one class
    value, low, high = consistency.macro(right, labels, seed=0)
    assert value == low == high == 0.75
    right[0:45] = False
    value, low, high = consistency.macro(right, labels, seed=0)
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
    labels = consistency.classes_of(Catalog(complete(frame, tree), tree, "sdss"))
    named = dict(zip(rows, labels.tolist(), strict=True))
    expected = {"smooth": 0, "edge-on": 1, "spiral": 2, "bar": 3, "bar without arms": 3}
    assert named == {name: expected.get(name, -1) for name in rows}


def test_compared_features_have_a_floor_below_what_differs() -> None:
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(4), 40)

    def reading(name: str, shift: float) -> consistency.Reading:
        return consistency.Reading(name, labels, labels, rng.normal(size=(160, 3)) + labels[:, None] + shift)

    found = consistency.compare_features([reading("alike", 0), reading("shifted", 2)], reading("real", 0), seed=0)
    assert found["alike"]["distance"] < 3 * found["real, the other half"]["distance"]
    assert found["shifted"]["distance"] > 8
    assert {one["n"] for one in found.values()} == {80}


def test_the_reader_learns_what_is_easy() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [60, 6])
    images = rng.integers(0, 60, (66, 16, 16, 3)).astype(np.uint8)
    images[labels == 1, 4:12, 4:12] += 120
    examples = reader.Examples(images, labels)
    trained = reader.train_reader(examples, examples, 2, reader.ReaderSettings(images=640, batch=16, choices=2))
    read, features = trained.read(images)
    assert trained.validation == 1.0 and np.array_equal(read, labels)
    assert features.shape == (66, 64)
    chosen = reader.balanced(labels, 2, 400, torch.Generator().manual_seed(0)).numpy()
    assert 150 < (labels[chosen] == 1).sum() < 250


@pytest.fixture(scope="module")
def train() -> torch.Tensor:
    return torch.randint(256, (200, 3, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def test_a_turned_copy_is_found(train: torch.Tensor) -> None:
    places, turns = torch.tensor([0, 5, 127, 128, 199, 7, 8, 9]), torch.arange(8)
    found = nearest.nearest(dihedral(train[places], turns), train)
    assert found.index.tolist() == places.tolist() and found.orientation.tolist() == turns.tolist()
    assert found.distance.tolist() == [0.0] * 8


def test_neighbours_are_those_of_a_plain_search(train: torch.Tensor) -> None:
    queries = torch.randint(256, (5, 3, 8, 8), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    found = nearest.nearest(queries, train)
    for query, distance in zip(queries, found.distance, strict=True):
        turned = torch.cat([dihedral(train, torch.full((200,), turn)) for turn in range(8)])
        plain = (turned.double() - query).square().mean(dim=(1, 2, 3)).sqrt().min()
        assert distance == pytest.approx(float(plain), rel=1e-5)


def test_copies_raise_the_alarm_and_real_galaxies_do_not(train: torch.Tensor) -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(12, 2, 1000)
    copies = nearest.nearest(nearest.noisy_copies(train, 20, rng), train).distance
    assert copies.max() < 1.1 * nearest.COPY_NOISE
    assert nearest.alarm(copies, real) == (1.0, True)
    assert not nearest.alarm(real, real)[1]
    few = np.concatenate([rng.normal(12, 0.5, 62), [1.0, 1.0]])  # two of 64 come up by chance now and then
    assert nearest.alarm(few, real) == (2 / 64, False)
    assert nearest.alarm(np.append(few, [1.0, 1.0, 1.0]), real)[1]


def test_pictures_of_neighbours(train: torch.Tensor) -> None:
    found = nearest.nearest(train[:6], train)
    sheet = nearest.pairs_sheet(train[:6], train, found, "seed 0")
    assert sheet.mode == "RGB" and sheet.width > 12 * 8
    groups = {"held-out real": np.linspace(5, 20, 50), "dreamed": np.linspace(4, 15, 9), "copies": np.full(3, 2.0)}
    colours = nearest.histogram(groups, 5.5, "seed 0").getcolors(100_000)
    assert set(nearest.COLOURS.values()) <= {colour for _, colour in colours}


def test_the_peer_is_of_equal_size() -> None:
    channels, parameters, cost = training.equal_peer(14_000_000)
    assert parameters == sum(weight.numel() for weight in training.peer(channels).parameters())
    assert abs(parameters / 14_000_000 - 1) <= 0.1 and cost > 1


def test_toy_galaxies_are_copied_under_other_names(tmp_path: Path) -> None:
    dataset = Dataset.open(training.toy_dataset(tmp_path, galaxies=25, rendered=10))
    assert len(dataset) == 25 and dataset.info.rejected_rows == 0 and dataset.info.images_without_row == 5
    assert len(set(dataset.catalog.frame["split"])) > 1
