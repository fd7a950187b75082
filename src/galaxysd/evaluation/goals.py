"""Goals: what a good generator reaches, and one plain line per axis that says whether this one does.

In: the axes of a report. Out: a `Verdict` per axis. A goal is relative to what real galaxies reach in the same run (the
real baseline) wherever a metric has no scale of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import Field

from galaxysd.settings import FrozenModel
from galaxysd.stats import Score


@dataclass(frozen=True)
class Goal:
    """What one metric is to reach.

    Attributes:
        metric: its name on its axis.
        text: the goal in words.
        limit: bound from the real baseline's value.
        at_most: whether it is an upper bound.
    """

    metric: str
    text: str
    limit: Callable[[float], float]
    at_most: bool = True


def _times(metric: str, factor: float) -> Goal:
    return Goal(metric, f"at most {factor:g} times the floor", lambda real_baseline: factor * real_baseline)


GOALS: dict[str, tuple[Goal, ...]] = {
    "realism": (
        _times("Fréchet distance", 3),
        Goal("two-sample AUC", "at most 0.75", lambda real_baseline: 0.75),
    ),
    "morphology": tuple(_times(name, 3) for name in ("Gini", "M20", "concentration", "ellipticity")),
    "consistency": (
        Goal("accuracy", "within 3 points of real galaxies", lambda real_baseline: real_baseline - 0.03, at_most=False),
    ),
    "diversity": (
        Goal(
            "coverage",
            "at least 0.8 times that of real galaxies",
            lambda real_baseline: 0.8 * real_baseline,
            at_most=False,
        ),
    ),
    "memory": (
        Goal(
            "nearer than 1 % of real", "no galaxy nearer to training than 1 % of real ones", lambda real_baseline: 0.0
        ),
    ),
    "usefulness": (
        Goal(
            "accuracy when taught by",
            "at least 90 % of that of real galaxies",
            lambda real_baseline: 0.9 * real_baseline,
            False,
        ),
    ),
}


class Verdict(FrozenModel):
    """Whether a generator reaches the goals of an axis."""

    axis: str
    met: bool | None = Field(description="null: a goal could not be measured, and none of the others was missed")
    text: str = Field(description="one line in plain words")


def verdicts(axes: Mapping[str, Mapping[str, Score]]) -> tuple[Verdict, ...]:
    """A line for every axis that has goals."""
    return tuple(_verdict(axis, GOALS[axis], axes[axis]) for axis in axes if axis in GOALS)


def _verdict(axis: str, goals: tuple[Goal, ...], scores: Mapping[str, Score]) -> Verdict:
    results: list[bool | None] = []
    words: list[str] = []
    for goal in goals:
        score = scores.get(goal.metric)
        if score is None or score.value is None or score.real_baseline is None:
            results.append(None)
            words.append(f"{goal.metric} not measured (goal: {goal.text})")
            continue
        limit = goal.limit(score.real_baseline.value)
        results.append(score.value <= limit if goal.at_most else score.value >= limit)
        state = "" if results[-1] else "not "
        words.append(
            f"{goal.metric} {score.value:.3g}, goal {state}met ({goal.text}; real {score.real_baseline.value:.3g})"
        )
    met = False if False in results else None if None in results else True
    head = {True: "goals met", False: "goals not met", None: "not fully measured"}[met]
    return Verdict(axis=axis, met=met, text=f"{axis}: {head}: {'; '.join(words)}")
