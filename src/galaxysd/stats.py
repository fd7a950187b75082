"""Samples of galaxies, the uncertainty of what is measured on them, and the record that is reported.

In: features or values of galaxies, a row each, and a statistic. Out: an `Estimate` (value with its 95 % interval) or a
`Score` (an estimate with its real baseline and negative controls, or a note that says how many galaxies it would have
needed).

Everything random draws from rows in an order of their own, so a result depends on the galaxies and the seed only.
"""

from collections.abc import Callable, Mapping, Sized
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import Field, FiniteFloat, model_validator

from galaxysd.errors import InputError
from galaxysd.settings import FrozenModel
from galaxysd.types import Floats

SizedT = TypeVar("SizedT", bound=Sized)

LEVEL = 0.95  # probability that an interval covers the truth
LEAST = 10  # galaxies from which a bootstrap can tell a spread


class TooFewGalaxies(InputError):
    """There are not enough galaxies for a statistic; the message says how many it needs."""


class Estimate(FrozenModel):
    """A statistic with its 95 % interval."""

    value: FiniteFloat
    low: FiniteFloat = Field(description="lower end of the interval")
    high: FiniteFloat = Field(description="upper end of the interval")
    n: int = Field(ge=1, description="galaxies it was computed from, of each sample if there are two")


class Score(FrozenModel):
    """What a report says about one metric."""

    value: FiniteFloat | None = Field(description="null where there are too few galaxies")
    low: FiniteFloat | None = Field(description="lower end of the 95 % interval")
    high: FiniteFloat | None = Field(description="upper end of the 95 % interval")
    n: int = Field(ge=0, description="galaxies it was computed from, of each sample if there are two")
    seed: int = Field(ge=0)
    real_baseline: Estimate | None = Field(
        description="the same metric on real galaxies in place of the generated ones"
    )
    negative_controls: dict[str, FiniteFloat | None] = Field(
        description="the same metric on samples that must do badly"
    )
    note: str | None = Field(default=None, description="why there is no value")

    @model_validator(mode="after")
    def _value_or_note(self) -> Self:
        whole = self.value is not None and self.low is not None and self.high is not None and self.note is None
        empty = self.value is None and self.low is None and self.high is None and self.note is not None
        if not whole and not empty:
            raise ValueError("either value, low and high are given, or a note that says why not")
        return self


def score(
    metric: Callable[[SizedT], Estimate],
    generated: SizedT,
    *,
    real_baseline: SizedT | None,
    negative_controls: Mapping[str, SizedT],
    seed: int,
) -> Score:
    """Measure generated galaxies, real ones and negative controls alike.

    Args:
        metric: of one sample; what it is compared with is bound to it.
        generated: the sample to judge.
        real baseline: real galaxies that are not in what the metric compares with; None: no real baseline.
        negative_controls: samples that must do badly, by name (metrics/controls.py).
        seed: that the metric is bound to, for the record.

    Returns:
        A score; where a sample is too small its place is null, and the note says what the generated one lacks.
    """

    def measured(sample: SizedT) -> tuple[Estimate | None, str | None]:
        try:
            return metric(sample), None
        except TooFewGalaxies as error:
            return None, str(error)

    own, note = measured(generated)
    straw = {name: measured(sample)[0] for name, sample in negative_controls.items()}
    return Score(
        value=None if own is None else own.value,
        low=None if own is None else own.low,
        high=None if own is None else own.high,
        n=len(generated) if own is None else own.n,
        seed=seed,
        real_baseline=None if real_baseline is None else measured(real_baseline)[0],
        negative_controls={name: None if one is None else one.value for name, one in straw.items()},
        note=note,
    )


def unmeasured(why: str, *, seed: int) -> Score:
    """The score of what cannot be measured at all."""
    return Score(value=None, low=None, high=None, n=0, seed=seed, real_baseline=None, negative_controls={}, note=why)


def as_sample(values: npt.ArrayLike, name: str, *, least: int = 1, why: str = "") -> Floats:
    """Values of galaxies as float64 [N, ...], a row each.

    Args:
        values: numbers.
        name: of the sample, for messages.
        least: galaxies that are needed.
        why: they are needed, for the message.

    Raises:
        InputError: a value is not finite.
        TooFewGalaxies: there are fewer than `least`.
    """
    sample = np.asarray(values, dtype=np.float64)
    if len(sample) < least:
        found = "1 galaxy" if len(sample) == 1 else f"{len(sample)} galaxies"
        raise TooFewGalaxies(f"{name}: {found}, at least {least} are needed{why and f' ({why})'}")
    bad = ~np.isfinite(sample.reshape(len(sample), -1)).all(axis=1)
    if bad.any():
        raise InputError(f"{name}: row {int(bad.argmax())} holds a value that is not a finite number")
    return sample


def as_features(values: npt.ArrayLike, name: str, *, least: int = 1, why: str = "") -> Floats:
    """`as_sample` for features: float64 [N, D].

    Raises:
        InputError: they are not of that shape, or a value is not finite.
        TooFewGalaxies: there are fewer than `least`.
    """
    sample = as_sample(values, name, least=least, why=why)
    if sample.ndim != 2 or sample.shape[1] == 0:
        raise InputError(f"{name}: features must be [galaxies, numbers], not of shape {list(sample.shape)}")
    return sample


def as_feature_pair(
    generated: npt.ArrayLike, real: npt.ArrayLike, *, least: int = 1, why: str = ""
) -> tuple[Floats, Floats]:
    """Features of two samples, of equal width.

    Raises:
        InputError: a value is not finite, or the samples have features of different width.
        TooFewGalaxies: there are fewer than `least` of one.
    """
    first = as_features(generated, "generated", least=least, why=why)
    second = as_features(real, "real", least=least, why=why)
    if first.shape[1] != second.shape[1]:
        raise InputError(f"generated: {first.shape[1]} features a galaxy, but the real ones have {second.shape[1]}")
    return first, second


def in_own_order(sample: Floats) -> Floats:
    """The rows sorted by their bytes: an order that the order of arrival does not change."""
    rows = np.ascontiguousarray(sample).reshape(len(sample), -1)
    keys = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1])))[:, 0]
    return sample[np.argsort(keys)]


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    from astropy.stats import binom_conf_interval

    low, high = binom_conf_interval(hits, n, confidence_level=LEVEL, interval="wilson")
    return float(low), float(high)


def share(flags: npt.ArrayLike) -> Estimate:
    """Share of galaxies [N] of which something is true, with its Wilson interval.

    Raises:
        TooFewGalaxies: there are none.
    """
    sample = as_sample(flags, "flags")
    hits, n = int(sample.sum()), len(sample)
    low, high = wilson(hits, n)
    return Estimate(value=hits / n, low=low, high=high, n=n)


def bootstrap(statistic: Callable[..., float], *samples: Floats, seed: int, resamples: int = 1000) -> Estimate:
    """Percentile interval of a statistic of one or more samples (Efron 1979): galaxies are drawn with replacement.

    For statistics that compare galaxies with each other (Fréchet, kernel, neighbours, Vendi) it is wrong, since
    a galaxy drawn twice is its own twin; those go over subsets, or resample a value per galaxy.

    Args:
        statistic: a function of as many arrays as there are samples.
        samples: values [N, ...] of galaxies, resampled independently of each other.
        seed: of the draws.
        resamples: how many.

    Raises:
        TooFewGalaxies: a sample has fewer than `LEAST`.
    """
    ordered = [in_own_order(as_sample(one, "sample", least=LEAST, why="bootstrap")) for one in samples]
    rng = np.random.default_rng(seed)
    drawn = [statistic(*(one[rng.integers(len(one), size=len(one))] for one in ordered)) for _ in range(resamples)]
    return spread(statistic(*ordered), drawn, min(map(len, ordered)))


def over_subsets(
    statistic: Callable[..., float],
    *samples: Floats,
    seed: int,
    size: int | None = None,
    repeats: int = 100,
) -> Estimate:
    """Mean and percentile interval of a statistic over random subsets, the same number of each sample, none repeated.

    Subsets of half the galaxies scatter about the whole as the whole does about the truth, to first order (delete-d
    jackknife, Shao and Wu 1989); smaller ones scatter more.

    Args:
        statistic: a function of as many arrays as there are samples.
        samples: values [N, ...] of galaxies.
        seed: of the draws.
        size: galaxies in a subset; None: half of the smallest sample.
        repeats: number of subsets.

    Raises:
        TooFewGalaxies: a sample has fewer than two of these subsets.
    """
    size = min(map(len, samples)) // 2 if size is None else size
    why = f"two subsets of {size}" if size else "two halves"
    ordered = [in_own_order(as_sample(one, "sample", least=2 * max(size, 1), why=why)) for one in samples]
    rng = np.random.default_rng(seed)
    drawn = [statistic(*(one[rng.choice(len(one), size, replace=False)] for one in ordered)) for _ in range(repeats)]
    return spread(float(np.mean(drawn)), drawn, size)


def spread(value: float, drawn: npt.ArrayLike, n: int) -> Estimate:
    """An estimate whose interval holds the middle 95 % of repeated draws."""
    low, high = np.quantile(np.asarray(drawn), ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Estimate(value=float(value), low=float(low), high=float(high), n=n)
