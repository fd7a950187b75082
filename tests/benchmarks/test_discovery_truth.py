"""The experiment with known truth: fair parts, hidden positives, intervals in the right direction, steps done once."""

import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_model import save_tiny_model

from galaxysd.encoders.registry import PixelEncoder
from galaxysd.metrics.ranking import completeness_at
from galaxysd.runs import Run

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))  # scripts, not a package

import discovery_truth as truth_of
import effort_statistics
from discovery_truth import Bench, Sky, Target, TruthSettings

SIDE = 32  # the default network halves four times
TARGET = Target(survey="sdss", folder="toy", where="TRUE", searched="TRUE", prompt="sdss, ring galaxy")
SETTINGS = TruthSettings(
    seeds=2,
    shots=(0, 3),
    unlabelled=60,
    images=192,
    generated=16,
    hard_negatives=16,
    background=16,
    orientations=1,
    resamples=20,
)


@pytest.fixture(scope="module")
def sky() -> Sky:
    """120 dim galaxies, 12 of them with a bright square."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (120, SIDE, SIDE, 3)).astype(np.uint8)
    truth = np.arange(120) % 10 == 0
    images[truth, 8:24, 8:24] += 150
    part = truth_of.deal(truth, np.ones(120, bool), 2, seed=0)
    return Sky(images, truth, part, [f"g{row}" for row in range(120)], ["train"] * 120)


@pytest.fixture(scope="module")
def bench(sky: Sky, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("truth")
    model = str(save_tiny_model(folder / "model", size=SIDE))
    return Bench(Run.open(folder / "run", SETTINGS), TARGET, [], sky, model, PixelEncoder(), SETTINGS)


def test_parts_are_fair_and_leave_out_what_is_not_searched() -> None:
    truth, searched = np.arange(100) < 10, np.arange(100) % 2 == 0
    part = truth_of.deal(truth, searched, 5, seed=1)
    assert (part[~searched] == -1).all() and {int((part == one).sum()) for one in range(5)} == {10}
    assert {int((truth & (part == one)).sum()) for one in range(5)} == {1}


def test_a_task_hides_the_other_positives_and_nests_its_shots(sky: Sky) -> None:
    few, more = (truth_of.make_task(sky, 0, shots, 1000) for shots in (2, 4))
    assert set(few.known) < set(more.known) and sky.truth[more.known].all()
    outside = {*more.known, *more.unlabelled}
    assert not outside & set(more.searched) and len(outside) + len(more.searched) == 120
    assert sky.truth[more.unlabelled].sum() == 6 - 4  # a real search does not know them


def test_methods_find_what_is_easy_and_are_not_run_twice(
    bench: Bench, sky: Sky, monkeypatch: pytest.MonkeyPatch
) -> None:
    for method in ("probe", "neighbour", "oversampled"):
        found = bench.scores(method, 3)
        assert np.isfinite(found).all() and found.max() <= 1
        assert completeness_at(found, sky.truth, 12) > 0.6, method
    generated = bench.scores("generated", 0)
    assert generated.shape == (120,)
    monkeypatch.setattr(bench, "_judge", lambda method, task: pytest.fail("done before"))
    assert np.array_equal(bench.scores("generated", 0), generated)
    assert len([line for line in bench.run.metrics() if line["step"].startswith("generated-0")]) == 2


def test_the_gain_of_a_better_list_lies_above_one() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(2000) < 0.03
    good, poor = truth + rng.normal(0, 0.4, 2000), truth + rng.normal(0, 3, 2000)
    better = effort_statistics.gain(good, poor, truth, 0.05, resamples=100)
    assert better.low > 1.5 and better.value > 2
    assert effort_statistics.gain(poor, good, truth, 0.05, resamples=100).high < 1
    same = effort_statistics.gain(good, good, truth, 0.05, resamples=100)
    assert (same.low, same.value, same.high) == (1, 1, 1)
    measured = effort_statistics.measure_scores({"good": good, "poor": poor}, truth, resamples=50)
    assert measured["good"]["average precision"].low > measured["poor"]["average precision"].high
    assert measured["good"]["to inspect for 80 %"].high < measured["poor"]["to inspect for 80 %"].low
    assert effort_statistics.curves({"good": good, "poor": poor}, truth, "toy").startswith(b"\x89PNG")


def test_the_plan_counts_every_step() -> None:
    rows = truth_of.plan(TruthSettings())
    assert rows[0].what.startswith("80 classifiers") and rows[1].what.startswith("15 fine-tunings")
    assert truth_of.methods_at(0) == ("generated", "dreams network") and "tuned" in truth_of.methods_at(3)
