"""Two reports: differences have a sign, an interval and a winner, and only where both were measured alike."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxysd.errors import InputError
from galaxysd.evaluation.compare import (
    compare,
    comparison_summary,
    difference,
    read_report,
    write_comparison,
)
from galaxysd.evaluation.evaluate import GENERATED, Report
from galaxysd.evaluation.goals import verdicts
from galaxysd.stats import Estimate, Score, unmeasured

FLOOR = Estimate(value=0.5, low=0.4, high=0.6, n=100)


def scored(value: float, half: float = 0.1) -> Score:
    return Score(
        value=value, low=value - half, high=value + half, n=100, seed=0, real_baseline=FLOOR, negative_controls={}
    )


def report(name: str, distance: Score, coverage: Score, *, halves: str = "a") -> Report:
    axes = {"realism": {"kernel distance": distance}, "diversity": {"coverage": coverage}}
    return Report(
        model=name,
        model_hash=name,
        encoder="pixels",
        encoder_hash="e",
        sampling=None,
        datasets=("sdss:1",),
        seed=0,
        halves=(halves, halves),
        images=100,
        rejected=0,
        scores=axes,
        per_class={},
        calibration={},
        verdicts=verdicts(axes),
        versions={},
    )


@given(*[st.floats(-5, 5)] * 2, *[st.floats(0, 2)] * 4)
def test_the_interval_of_a_difference_holds_it_and_turns_with_it(
    a: float, b: float, left: float, right: float, other_left: float, other_right: float
) -> None:
    one = scored(a).model_copy(update={"low": a - left, "high": a + right})
    two = scored(b).model_copy(update={"low": b - other_left, "high": b + other_right})
    found, turned = difference(one, two), difference(two, one)
    assert found is not None and turned is not None
    assert found.low <= found.value <= found.high and found.value == pytest.approx(-turned.value)
    assert (found.low, found.high) == pytest.approx((-turned.high, -turned.low))
    assert found.high - found.value == pytest.approx(np.hypot(other_right, left))


def test_the_interval_has_the_coverage_it_claims() -> None:
    rng, hits = np.random.default_rng(0), 0
    for _ in range(400):
        values = rng.normal((0.0, 1.0), 0.5)
        found = difference(*(scored(float(value), 1.96 * 0.5) for value in values))
        assert found is not None
        hits += found.low <= 1.0 <= found.high
    assert 0.92 < hits / 400 < 0.98


def test_a_winner_needs_an_interval_without_zero_and_knows_what_is_good() -> None:
    first, second = report("a", scored(1.0), scored(0.3)), report("b", scored(2.0), scored(0.7))
    found = {one.metric: one for one in compare(first, second).differences}
    assert found["kernel distance"].better == 1 and found["coverage"].better == 2
    turned = {one.metric: one for one in compare(second, first).differences}
    assert turned["kernel distance"].better == 2 and turned["coverage"].better == 1
    close = compare(report("a", scored(1.0), scored(0.3)), report("b", scored(1.05), unmeasured("no", seed=0)))
    assert [one.better for one in close.differences] == [None, None]
    assert [one.difference is None for one in close.differences] == [False, True]
    assert "realism: no difference beyond chance" in comparison_summary(close)


def test_other_galaxies_give_no_difference() -> None:
    found = compare(report("a", scored(1.0), scored(0.3)), report("b", scored(2.0), scored(0.7), halves="b"))
    assert not found.comparable and found.why_not == "the reports differ in real galaxies"
    assert all(one.difference is None and one.better is None for one in found.differences)
    assert "not comparable: the reports differ in real galaxies" in comparison_summary(found)


def test_the_page_shows_both(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, value in (("a", 1.0), ("b", 2.0)):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / GENERATED, rng.integers(0, 256, (10, 16, 16, 3)).astype(np.uint8))
        one = report(name, scored(value), scored(0.5))
        (tmp_path / name / "report.json").write_text(one.model_dump_json())
    found = write_comparison((tmp_path / "a", tmp_path / "b"), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert text.count("data:image/png") == 2 and "1 is better in kernel distance" in text
    assert found == compare(read_report(tmp_path / "a"), read_report(tmp_path / "b"))


def test_a_folder_without_a_report_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not the report of a finished"):
        read_report(tmp_path)
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(InputError, match="Field required"):
        read_report(tmp_path)
