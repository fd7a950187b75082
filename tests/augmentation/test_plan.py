"""The plan makes every run once and leaves out those that would repeat the baseline."""

from collections.abc import Callable

import numpy as np
import pytest

from galaxysd.augmentation.methods import OWN, standard_arms
from galaxysd.augmentation.plan import AugmentSettings, Plan, plan_runs
from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.errors import InputError

NAMES = ("disc", "bar", "ring")


def test_every_arm_level_and_seed_once(shapes: Callable[..., GalaxySet]) -> None:
    train = shapes(120, seed=0, shares=[0.5, 0.3, 0.2])
    settings = AugmentSettings(shots=(5, 10, "all"), seeds=2, ratios=(1,), gammas=(1, 2))
    arms = standard_arms(settings.ratios, settings.gammas, (OWN,), explore=True)
    cells, left_out = plan_runs(settings, arms, train, NAMES)
    assert len(set(map(str, cells))) == len(cells)
    assert [spec.seed for spec in cells] == sorted(spec.seed for spec in cells)
    assert left_out == ("class weights at 5", "class weights at 10")
    assert {spec.shots for spec in cells if spec.arm == "class weights"} == {"all"}
    assert {spec.shots for spec in cells if spec.arm == "unfiltered"} == {5, 10}
    assert sum(spec.arm == "baseline" for spec in cells) == 6
    text = str(Plan(cells, left_out, 9, 7200.0, 2))
    assert f"{len(cells)} runs with 9 trainings" in text and "2.0 h" in text and "class weights at 10" in text


def test_a_level_that_nobody_has_is_refused_before_anything_is_done(shapes: Callable[..., GalaxySet]) -> None:
    train = shapes(60, seed=0)
    most = int(np.bincount(train.labels).max())
    arms = standard_arms((1,), (1,), (), explore=False)
    with pytest.raises(InputError, match=f"shots {most + 1}: no class has as many"):
        plan_runs(AugmentSettings(shots=(most + 1,)), arms, train, NAMES)
