"""Active rounds: what people answered about candidates becomes training data of the next search.

In: a table of `id` and `answer`, one row per vote (`galaxysd` writes such a table from its store of votes). Out: the
galaxies that most votes call the target, and those that most votes do not.
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from galaxysd.catalog.source import SourceTable
from galaxysd.errors import InputError
from galaxysd.search.survey import Survey

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
