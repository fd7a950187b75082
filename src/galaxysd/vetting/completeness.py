"""Purity and completeness of a ranked list, from the part of it that people vetted.

In: candidates with rank, random turn and verdict (`vetting.agreement`). Out: how many targets there are, and purity and
completeness down to several ranks, with 95 % intervals; null with the reason where too few were vetted.

A stratum h is a range of ranks with N_h candidates of which n_h were vetted at random and y_h are the target. Targets
down to a rank are the sum of N_h y_h / n_h over its strata (Cochran 1977, Sampling Techniques, section 5.10).
Intervals: y_h plus a beta-binomial draw for the N_h - n_h others, Jeffreys prior (Brown, Cai and DasGupta 2001, Stat.
Sci. 16, 101), so that what is vetted completely is known exactly.

Random means in order of `turn` (`next_to_vet(order="sample")`): of a stratum, only the leading run of vetted turns
counts, so that people who also vet by rank do not bias it. The ranks from 1 on that are vetted without a gap are
a stratum of their own. Candidates that people are unsure about count as not vetted, missing at random.
"""

import numpy as np
import polars as pl
from pydantic import Field

from galaxysd.settings import FrozenModel
from galaxysd.stats import LEVEL, Estimate
from galaxysd.types import Floats
from galaxysd.vetting.store import stratum

LEAST = 10  # galaxies vetted at random, from which a stratum is estimated
DRAWS = 4000


class Stratum(FrozenModel):
    """A range of ranks that is estimated as one."""

    first: int = Field(description="best rank")
    last: int = Field(description="worst rank")
    candidates: int = Field(ge=1, description="N_h")
    vetted: int = Field(ge=0, description="n_h, with a yes or no, in random order or all")
    targets: int = Field(ge=0, description="y_h, of those with a yes")

    @property
    def enough(self) -> bool:
        """Whether it can be estimated."""
        return self.vetted >= self.needed

    @property
    def needed(self) -> int:
        """Vetted candidates it takes."""
        return min(LEAST, -(-self.candidates // 2))


class Cut(FrozenModel):
    """The list down to a rank."""

    rank: int = Field(description="last rank of the list")
    score: float = Field(description="smallest score of the list")
    candidates: int = Field(ge=1, description="length of the list")
    purity: Estimate | None = Field(description="share of the list that is the target")
    completeness: Estimate | None = Field(description="share of the targets among all candidates that the list holds")


class SampleEstimate(FrozenModel):
    """What the vetted sample says about all candidates of a search."""

    strata: tuple[Stratum, ...]
    cuts: tuple[Cut, ...]
    targets: Estimate | None = Field(description="targets among all candidates, vetted or not")
    vetted_completeness: Estimate | None = Field(description="share of those that have the verdict yes")
    note: str | None = Field(description="why a value is null, and what to do")


def estimate(frame: pl.DataFrame, *, seed: int = 0) -> SampleEstimate:
    """Purity and completeness of a ranked list.

    Args:
        frame: `rank`, `score`, `turn`, `verdict`, a row per candidate.
        seed: of the draws.
    """
    frame = frame.sort("rank")
    parts = _parts(frame)
    strata = [_stratum(part) for part in parts]
    short = [one for one in strata if not one.enough]
    rng = np.random.default_rng(seed)
    targets = np.array([one.candidates * one.targets / one.vetted if one.enough else np.nan for one in strata])
    drawn = np.stack([_drawn(one, rng) for one in strata])
    found = frame.filter(pl.col("verdict") == "yes").height
    vetted = sum(one.vetted for one in strata)

    cuts = []
    for index, part in enumerate(parts):
        n, known = sum(one.candidates for one in strata[: index + 1]), sum(one.vetted for one in strata[: index + 1])
        own, draws = targets[: index + 1].sum(), drawn[: index + 1].sum(axis=0)
        cuts.append(
            Cut(
                rank=strata[index].last,
                score=float(part["score"][-1]),
                candidates=n,
                purity=_estimate(own / n, draws / n, known),
                completeness=None
                if short or targets.sum() == 0
                else _estimate(own / targets.sum(), draws / drawn.sum(axis=0), vetted),
            )
        )
    total, totals = max(targets.sum(), found), np.maximum(drawn.sum(axis=0), found)
    note = None
    if short:
        one = short[0]
        note = (
            f"ranks {one.first} to {one.last}: {one.vetted} of {one.candidates} are vetted at random, at least "
            f"{one.needed} with a yes or no are needed; vet in the order 'sample'"
        )
    elif targets.sum() == 0:
        note = "no target is among the vetted candidates, so there is no completeness"
    return SampleEstimate(
        strata=tuple(strata),
        cuts=tuple(cuts),
        targets=None if short else _estimate(total, totals, vetted),
        vetted_completeness=None if short or targets.sum() == 0 else _estimate(found / total, found / totals, vetted),
        note=note,
    )


def _parts(frame: pl.DataFrame) -> list[pl.DataFrame]:
    """The candidates of each stratum, by rank: the leading run of vetted ones, then fixed ranges of ranks."""
    gaps = (frame["verdict"] == "unvetted").arg_true()
    run = int(gaps[0]) if len(gaps) else frame.height
    rest = frame.slice(run)
    limits = [stratum(rank)[1] for rank in rest["rank"]]
    parts = rest.with_columns(limit=pl.Series(limits, dtype=pl.Int64)).partition_by("limit", include_key=False)
    return ([frame.head(run)] if run else []) + (parts if rest.height else [])


def _stratum(part: pl.DataFrame) -> Stratum:
    """Count the leading run of vetted turns."""
    ordered = part.sort("turn")["verdict"]
    gaps = (ordered == "unvetted").arg_true()
    sample = ordered.head(int(gaps[0])) if len(gaps) else ordered
    yes, no = (len(sample.filter(sample == answer)) for answer in ("yes", "no"))
    return Stratum(first=part["rank"][0], last=part["rank"][-1], candidates=part.height, vetted=yes + no, targets=yes)


def _drawn(one: Stratum, rng: np.random.Generator) -> Floats:
    """Targets of a stratum in `DRAWS` draws from the posterior."""
    rate = rng.beta(one.targets + 0.5, one.vetted - one.targets + 0.5, DRAWS)
    return one.targets + rng.binomial(one.candidates - one.vetted, rate).astype(np.float64)


def _estimate(value: float, draws: Floats, n: int) -> Estimate | None:
    """Value with the middle 95 % of the draws, widened to hold the value; None where a stratum has too few."""
    if np.isnan(value):
        return None
    low, high = np.quantile(draws, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Estimate(value=float(value), low=float(min(low, value)), high=float(max(high, value)), n=max(n, 1))
