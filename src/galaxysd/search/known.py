"""Galaxies of a survey that somebody knows already: a list of ids, or of positions on the sky.

In: a table with a column `id`, or with `ra` and `dec` (deg); CSV, Parquet, FITS or VOTable. Out: ids of the survey.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from galaxysd.catalog.sky import directions, nearest_within
from galaxysd.catalog.source import SourceTable
from galaxysd.errors import InputError
from galaxysd.search.survey import Survey

RADIUS = 3.0  # arcsec, within which two positions are the same galaxy


def known_ids(table: str | Path, survey: Survey) -> list[str]:
    """The galaxies of a list that are in the survey, in the order of the survey.

    Ids may carry the survey token in front (`efigi:PGC0000212`).

    Raises:
        InputError: the table cannot be read, has neither ids nor positions, or none of them is in the survey.
    """
    source = SourceTable(table)
    if "id" in source.names:
        listed = source.collect(source.scan({"id": pl.String()}))["id"].drop_nulls().to_list()
        prefix = "" if survey.token is None else f"{survey.token}:"
        wanted = {name.removeprefix(prefix) for name in listed}
        found = [name for _, names in survey.ids() for name in names if name in wanted]
        example = next((names[0] for _, names in survey.ids() if names), "")
        hint = f"the first is {listed[0]!r}, ids of the survey look like {example!r}" if listed else "it is empty"
    elif {"ra", "dec"} <= set(source.names):
        places = source.collect(source.scan({"ra": pl.Float64(), "dec": pl.Float64()})).drop_nulls()
        listed = list(places.iter_rows())
        found = _near(listed, survey)
        hint = f"none lies within {RADIUS:g} arcsec of a galaxy of the survey"
    else:
        raise InputError(f"{table}: has neither a column 'id' nor 'ra' and 'dec' ({', '.join(source.names[:6])})")
    if not found:
        raise InputError(f"{table}: none of its {len(listed)} galaxies is in survey {survey.name}; {hint}")
    return found


def _near(places: Sequence[tuple[float, float]], survey: Survey) -> list[str]:
    """Galaxies of the survey within `RADIUS` of a position."""
    located = [(name, ra, dec) for name, (ra, dec) in survey.positions().items() if ra is not None and dec is not None]
    if not located:
        raise InputError(f"survey {survey.name}: has no positions; list its galaxies by id")
    if not places:
        return []
    names, ra, dec = zip(*located, strict=True)
    _, near = nearest_within(directions(ra, dec), directions(*zip(*places, strict=True)), RADIUS)
    return [name for name, hit in zip(names, near, strict=True) if hit]


YES, NO, UNSURE = ("yes", "true", "1"), ("no", "false", "0"), ("unsure", "maybe", "")


@dataclass(frozen=True)
class Answers:
    """Vetted galaxies of a survey.

    Attributes:
        yes: ids that more votes call the target than not.
        no: ids that more votes do not.
        unsure: ids with a tie, or with no clear vote; they teach nothing and are not shown again.
    """

    yes: tuple[str, ...] = ()
    no: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()

    @property
    def all(self) -> frozenset[str]:
        """Every galaxy that was looked at."""
        return frozenset((*self.yes, *self.no, *self.unsure))


def read_answers(table: str | Path, survey: Survey) -> Answers:
    """Count the votes of a table.

    Args:
        table: columns `id` and `answer` (yes, no or unsure; also true/false, 1/0), one row per vote.
        survey: the galaxies must be in it.

    Raises:
        InputError: a column is missing, an answer is another word (the header is row 1), or an id is not in the survey.
    """
    source = SourceTable(table)
    for name in ("id", "answer"):
        if name not in source.names:
            raise InputError(f"{table}: has no column {name!r} ({', '.join(source.names[:6])}); expected id and answer")
    votes = source.collect(source.scan({"id": pl.String(), "answer": pl.String()})).with_columns(
        pl.col("answer").fill_null("").str.strip_chars().str.to_lowercase()
    )
    strange = votes.with_row_index("row", offset=2).filter(~pl.col("answer").is_in([*YES, *NO, *UNSURE]))
    if strange.height:
        row, _, answer = strange.row(0)
        raise InputError(f"{table}: row {row}: answer {answer!r} is none of yes, no, unsure")
    prefix = "" if survey.token is None else f"{survey.token}:"
    counted = (
        votes.with_columns(
            pl.col("id").str.strip_prefix(prefix),
            balance=pl.col("answer").is_in(YES).cast(pl.Int64) - pl.col("answer").is_in(NO).cast(pl.Int64),
        )
        .group_by("id", maintain_order=True)
        .agg(pl.col("balance").sum())
    )
    left = set(counted["id"])
    for _, names in survey.ids():
        left.difference_update(names)
    if left:
        raise InputError(f"{table}: {min(left)!r} is not in survey {survey.name} ({len(left)} ids are unknown)")

    def those(sign: pl.Expr) -> tuple[str, ...]:
        return tuple(counted.filter(sign)["id"])

    balance = pl.col("balance")
    return Answers(yes=those(balance > 0), no=those(balance < 0), unsure=those(balance == 0))
