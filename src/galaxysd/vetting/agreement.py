"""What several people's answers say about a galaxy.

In: numbers of yes, no and unsure. Out: the share of yes with its posterior interval (Beta distribution, uniform prior:
Cameron 2011, PASA 28, 128), a verdict, and the answers that go back into training.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field

from galaxysd.errors import InputError
from galaxysd.settings import Settings
from galaxysd.stats import LEVEL
from galaxysd.types import Floats
from galaxysd.vetting.store import VettingStore

Verdict = Literal["yes", "no", "unsure", "unvetted"]


class VerdictRule(Settings):
    """When people agree enough."""

    votes: int = Field(default=1, ge=1, description="yes and no votes that are needed for a verdict")
    majority: float = Field(default=0.5, ge=0.5, lt=1, description="a verdict needs more than this share of yes and no")


def posterior(yes: npt.ArrayLike, no: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Share of yes: mean and ends of the central 95 % of Beta(1 + yes, 1 + no); Cameron 2011, equation 1.

    Args:
        yes, no: votes [N].

    Returns:
        Mean, lower and upper end, each [N].
    """
    from scipy.special import betaincinv

    a, b = 1.0 + np.asarray(yes, np.float64), 1.0 + np.asarray(no, np.float64)
    return a / (a + b), betaincinv(a, b, (1 - LEVEL) / 2), betaincinv(a, b, (1 + LEVEL) / 2)


def agreement(store: VettingStore, search: str, rule: VerdictRule | None = None) -> pl.DataFrame:
    """Every candidate of a search with its votes and verdict, in order of rank.

    Returns:
        Columns of `VettingStore.tally`, then `yes_share`, `yes_low`, `yes_high` (posterior, null without a yes or no)
        and `verdict`: yes, no, unsure (people disagree, are too few, or cannot say) or unvetted.

    Raises:
        InputError: no such search, or the store cannot be used.
    """
    rule = rule or VerdictRule()
    frame = store.tally(search)
    decided = pl.col("yes") + pl.col("no")
    shares = zip(("yes_share", "yes_low", "yes_high"), posterior(frame["yes"], frame["no"]), strict=True)
    frame = frame.with_columns(pl.Series(name, values) for name, values in shares)
    verdict = (
        pl.when(decided + pl.col("unsure") == 0)
        .then(pl.lit("unvetted"))
        .when(decided < rule.votes)
        .then(pl.lit("unsure"))
        .when(pl.col("yes") > rule.majority * decided)
        .then(pl.lit("yes"))
        .when(pl.col("no") > rule.majority * decided)
        .then(pl.lit("no"))
        .otherwise(pl.lit("unsure"))
    )
    known = [pl.when(decided > 0).then(name).alias(name) for name in ("yes_share", "yes_low", "yes_high")]
    return frame.with_columns(*known, verdict=verdict)


def answers(store: VettingStore, searches: Sequence[str], rule: VerdictRule | None = None) -> pl.DataFrame:
    """Vetted galaxies for another round of training (`search/known.py`), each once.

    A galaxy that rounds of the search disagree about is unsure.

    Args:
        store: with the votes.
        searches: rounds of one target.
        rule: when people agree enough.

    Returns:
        `id` and `answer`: yes, no or unsure; galaxies without a vote are left out.

    Raises:
        InputError: no such search, searches of different targets or surveys, or nothing is vetted.
    """
    asked = {(one.target, one.survey_hash) for one in map(store.search, searches)}
    if len(asked) != 1:
        raise InputError(
            f"{store}: expected rounds of one target in one survey, not {', '.join(searches) or 'nothing'}"
        )
    verdicts = pl.concat([agreement(store, name, rule).select("id", "verdict") for name in searches])
    one = pl.col("verdict").unique()
    vetted = (
        verdicts.filter(pl.col("verdict") != "unvetted")
        .group_by("id", maintain_order=True)
        .agg(answer=pl.when(one.len() == 1).then(one.first()).otherwise(pl.lit("unsure")))
    )
    if vetted.is_empty():
        raise InputError(f"{store}: nobody has answered for a galaxy of {', '.join(searches)}; cast votes first")
    return vetted
