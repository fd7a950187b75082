"""The words and the page of a report: goals, kinds, sweep, twins, and what was not measured."""

from pathlib import Path

import numpy as np
import pytest

from galaxysd.diffusion.folder import SamplingSettings
from galaxysd.evaluation.evaluate import GENERATED, Report
from galaxysd.evaluation.goals import verdicts
from galaxysd.evaluation.report import summary, two_models_verdict, verdict, write_page
from galaxysd.evaluation.sweep import Sweep, SweepPoint
from galaxysd.evaluation.two_models import TwoModelTest
from galaxysd.stats import Estimate, Score, unmeasured

ESTIMATE = Estimate(value=0.5, low=0.4, high=0.6, n=100)


def scored(
    value: float, men: dict[str, float | None] | None = None, *, real_baseline: Estimate | None = ESTIMATE
) -> Score:
    return Score(
        value=value, low=value, high=value, n=100, seed=0, real_baseline=real_baseline, negative_controls=men or {}
    )


@pytest.fixture
def report(tmp_path: Path) -> Report:
    np.save(tmp_path / GENERATED, np.random.default_rng(0).integers(0, 256, (10, 16, 16, 3)).astype(np.uint8))
    axes = {
        "realism": {"Fréchet distance": scored(2.0), "kernel distance": scored(0.0)},
        "memory": {"nearer than 1 % of real": scored(0.0, {"training copies": 1.0})},
        "usefulness": {"accuracy when taught by": unmeasured("the images come without conditions", seed=0)},
    }
    kind = {
        "Fréchet distance": unmeasured("too few", seed=0).model_copy(update={"negative_controls": {"any kind": None}})
    }
    kind |= {name: scored(0.25, {"any kind": 0.75}) for name in ("kernel distance", "spread")}
    return Report(
        model="a generator",
        model_hash="0123",
        encoder="pixels",
        encoder_hash="e",
        sampling=None,
        datasets=("sdss:1",),
        seed=0,
        halves=("a", "b"),
        images=10,
        rejected=2,
        scores=axes,
        per_class={"t03_bar_a06_bar": kind},
        calibration={},
        verdicts=verdicts(axes),
        versions={},
    )


def twins(agreement: float) -> TwoModelTest:
    return TwoModelTest(
        models=("a", "b"), hashes=("1", "2"), agreement=scored(agreement, {"other noise": 0.5}), ratio=0.3
    )


def point(sampling: SamplingSettings | None, *, own: bool, seconds: float | None) -> SweepPoint:
    same = dict.fromkeys(("consistency", "diversity", "realism", "kernel"), ESTIMATE)
    return SweepPoint(sampling=sampling, own=own, seconds=seconds, **same)


def test_the_summary_opens_with_the_goals_and_counts_what_was_left_out(report: Report) -> None:
    lines = summary(report, twins(0.9)).splitlines()
    assert lines[1].startswith("realism: goals not met: Fréchet distance 2, goal not met (at most 3 times the floor")
    assert lines[2].startswith("memory: goals met")
    assert lines[3].startswith("usefulness: not fully measured")
    assert lines[4] == "left out: 2 images that cannot be used, listed in rejected.parquet"
    assert any("two models (a, b): agreement 0.9" in line for line in lines)


def test_the_page_holds_every_part_it_is_given(report: Report, tmp_path: Path) -> None:
    plain = write_page(report, tmp_path).read_text()
    assert (
        plain.count("data:image/png") == 3
    )  # the generated galaxies and two charts: nothing was measured on the third axis
    assert "t03_bar_a06_bar" in plain and "Guidance and steps" not in plain and "two models" not in plain
    assert ">not met<" in plain and ">met<" in plain and ">not measured<" in plain
    own = SamplingSettings()
    swept = Sweep(
        model="m",
        model_hash="1",
        encoder="pixels",
        n=10,
        seed=0,
        points=(point(None, own=False, seconds=None), point(own, own=True, seconds=5.0)),
    )
    full = write_page(report, tmp_path, swept=swept, two_models=twins(0.9)).read_text()
    assert (
        full.count("data:image/png") == 4
        and f"{own.guidance.scale:g} / {own.guidance.to_level:g} / {own.steps} (own)" in full
    )
    assert "two models (a, b)" in full and "agreement of two models" in full and ">0.5<" in full


def test_a_value_of_zero_is_a_value(report: Report) -> None:
    assert "kernel distance: 0 where real galaxies have 0.5: like real" in summary(report)


@pytest.mark.parametrize(("value", "says"), [(0.9, "they agree on what noise becomes"), (0.5, "no more than chance")])
def test_twins_in_words(value: float, says: str) -> None:
    assert says in two_models_verdict(twins(value))


def test_no_better_than_a_straw_man_is_said() -> None:
    said = verdict("realism", "kernel distance", scored(2.0, {"blurred": 1.0, "noise": 5.0}))
    assert said.endswith("short of real galaxies, and no better than a straw man")
