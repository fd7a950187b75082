"""Purity and completeness from a vetted sample, held against populations whose truth is known."""

import numpy as np
import polars as pl
import pytest

from galaxysd.vetting.completeness import SampleEstimate, estimate
from galaxysd.vetting.store import stratum, turn

N = 400


def population(seed: int) -> tuple[pl.DataFrame, np.ndarray]:
    """Candidates nobody has vetted, and which of them are the target: fewer the further down."""
    rng = np.random.default_rng(seed)
    ranks = np.arange(1, N + 1)
    truth = rng.random(N) < 0.9 * np.exp(-ranks / 80)
    turns = [turn(f"search {seed}", str(rank), int(rank)) for rank in ranks]
    frame = pl.DataFrame({"rank": ranks, "score": 1 / ranks, "turn": turns})
    return frame.with_columns(verdict=pl.lit("unvetted")), truth


def vetted(frame: pl.DataFrame, truth: np.ndarray, who: np.ndarray) -> pl.DataFrame:
    """The candidates after the true answer was given for some of them."""
    answers = np.where(who, np.where(truth, "yes", "no"), "unvetted")
    return frame.with_columns(verdict=pl.Series(answers.astype(str)))


def sampled(frame: pl.DataFrame, each: int) -> np.ndarray:
    """Which candidates the first `each` turns of every stratum are."""
    limits = pl.Series([stratum(rank)[1] for rank in frame["rank"]])
    return frame.select(pl.col("turn").rank("ordinal").over(limits) <= each).to_series().to_numpy()


def test_what_is_vetted_completely_is_known_exactly() -> None:
    frame, truth = population(0)
    found = estimate(vetted(frame, truth, np.ones(N, bool)))
    assert found.note is None and found.targets is not None and found.vetted_completeness is not None
    assert (found.targets.value, found.targets.low, found.targets.high) == (truth.sum(),) * 3
    assert found.vetted_completeness.value == 1
    (cut,) = found.cuts
    assert cut.purity is not None and cut.purity.value == pytest.approx(truth.mean()) == cut.purity.low


@pytest.mark.parametrize("by_rank", [0, 70])
def test_intervals_hold_the_truth_as_often_as_they_say(by_rank: int) -> None:
    """Also when someone has vetted the best 70 as well, who are not a random sample."""
    hits: dict[str, list[bool]] = {"targets": [], "purity": [], "completeness": []}
    errors = []
    for seed in range(120):
        frame, truth = population(seed)
        who = sampled(frame, 32) | (frame["rank"].to_numpy() <= by_rank)
        found = estimate(vetted(frame, truth, who), seed=seed)
        assert found.targets is not None
        hits["targets"].append(found.targets.low <= truth.sum() <= found.targets.high)
        errors.append(found.targets.value - truth.sum())
        for cut in found.cuts:
            purity, completeness = cut.purity, cut.completeness
            assert purity is not None and completeness is not None
            inside = truth[: cut.rank].mean(), truth[: cut.rank].sum() / truth.sum()
            if cut.rank < N:
                hits["purity"].append(purity.low <= inside[0] + 1e-9 and inside[0] <= purity.high + 1e-9)
                hits["completeness"].append(
                    completeness.low <= inside[1] + 1e-9 and inside[1] <= completeness.high + 1e-9
                )
    assert all(np.mean(values) > 0.9 for values in hits.values()), {key: np.mean(one) for key, one in hits.items()}
    assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(len(errors))  # no bias


def test_more_vetting_narrows_the_interval() -> None:
    frame, truth = population(1)
    widths = []
    for each in (12, 40, 90):
        targets = estimate(vetted(frame, truth, sampled(frame, each))).targets
        assert targets is not None
        widths.append(targets.high - targets.low)
    assert widths[0] > widths[1] > widths[2]


def test_completeness_grows_down_the_list_and_purity_falls() -> None:
    frame, truth = population(2)
    found = estimate(vetted(frame, truth, sampled(frame, 50)))
    complete = [cut.completeness.value for cut in found.cuts if cut.completeness]
    pure = [cut.purity.value for cut in found.cuts if cut.purity]
    assert complete == sorted(complete) and complete[-1] == 1
    assert pure[0] > pure[-1]


def test_vetting_by_rank_alone_says_nothing_about_the_rest() -> None:
    frame, truth = population(3)
    found = estimate(vetted(frame, truth, frame["rank"].to_numpy() <= 80))
    assert found.targets is None and found.cuts[-1].purity is None and found.cuts[0].completeness is None
    assert found.cuts[0].purity is not None and found.cuts[0].purity.value == pytest.approx(truth[:80].mean())
    assert found.note is not None and "ranks 81 to 100: 0 of 20 are vetted at random" in found.note


def test_unsure_candidates_are_missing_and_no_target_is_said() -> None:
    frame, truth = population(4)
    all_known = vetted(frame, truth, np.ones(N, bool))
    unsure = all_known.with_columns(
        verdict=pl.when(pl.col("rank") % 5 == 0).then(pl.lit("unsure")).otherwise(pl.col("verdict"))
    )
    found = estimate(unsure)
    assert found.targets is not None and found.targets.low <= truth.sum() <= found.targets.high
    assert found.strata[0].vetted == 320 and found.strata[0].candidates == N
    none = estimate(vetted(frame, np.zeros(N, bool), np.ones(N, bool)))
    assert none.note is not None and "no target" in none.note and none.cuts[0].completeness is None
    assert none.targets is not None and none.targets.value == 0


def test_nobody_has_vetted_anything() -> None:
    frame, _ = population(5)
    found = estimate(frame)
    assert isinstance(found, SampleEstimate) and found.targets is None and all(cut.purity is None for cut in found.cuts)
