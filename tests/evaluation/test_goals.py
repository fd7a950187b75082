"""Goals: met at the bound, missed beyond it, open where something was not measured."""

import pytest

from galaxysd.evaluation.goals import GOALS, verdicts
from galaxysd.stats import Estimate, Score, unmeasured


def scored(value: float, real_baseline: float) -> Score:
    return Score(
        value=value,
        low=value,
        high=value,
        n=100,
        seed=0,
        real_baseline=Estimate(value=real_baseline, low=real_baseline, high=real_baseline, n=100),
        negative_controls={},
    )


@pytest.mark.parametrize(
    ("axis", "metric", "real_baseline", "good", "bad"),
    [
        ("realism", "Fréchet distance", 2.0, 6.0, 6.01),
        ("realism", "two-sample AUC", 0.5, 0.75, 0.76),
        ("consistency", "accuracy", 0.93, 0.9, 0.89),
        ("diversity", "coverage", 0.5, 0.41, 0.39),
        ("memory", "nearer than 1 % of real", 0.01, 0.0, 0.001),
        ("usefulness", "accuracy when taught by", 0.5, 0.46, 0.44),
        ("morphology", "Gini", 0.1, 0.29, 0.31),
    ],
)
def test_a_goal_is_met_at_its_bound(axis: str, metric: str, real_baseline: float, good: float, bad: float) -> None:
    others = {goal.metric: scored(0.5, 0.5) for goal in GOALS[axis]}
    for value, met in ((good, True), (bad, False)):
        (found,) = verdicts({axis: {**others, metric: scored(value, real_baseline)}})
        assert found.met is met, found.text
        assert ("not met (" in found.text) is not met and "\n" not in found.text


def test_what_was_not_measured_leaves_the_verdict_open_unless_another_goal_is_missed() -> None:
    lost = {"Fréchet distance": unmeasured("too few", seed=0)}
    (open_one,) = verdicts({"realism": {**lost, "two-sample AUC": scored(0.6, 0.5)}})
    (missed,) = verdicts({"realism": {**lost, "two-sample AUC": scored(0.9, 0.5)}})
    assert open_one.met is None and "Fréchet distance not measured" in open_one.text
    assert missed.met is False
    assert verdicts({"appearance": {"power spectrum": scored(1, 1)}}) == ()
