"""Reads Galaxy Zoo 2 vote tables: Hart et al. 2016 (`gz2_hart16`) and Willett et al. 2013 (tables 3 to 5).

In: columns `<question>_<answer>_{count,weight,fraction,weighted_fraction,debiased,flag}`, all conditional on the
question having been reached. Out: a `Catalog` of the weighted or the debiased fractions. Derivatives of these tables
that lack counts, ids or whole questions are read as far as they go.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import polars as pl

from galaxysd.catalog.catalog import Catalog, check_fractions, complete
from galaxysd.catalog.source import SourceTable, numbers_where_possible
from galaxysd.catalog.tree import DecisionTree, Question
from galaxysd.errors import InputError

Fractions = Literal["weighted", "debiased"]

SUFFIX: dict[Fractions, str] = {"weighted": "weighted_fraction", "debiased": "debiased"}
ID_COLUMNS = ("dr7objid", "objid")

_IDENTIFIERS = (*ID_COLUMNS, "asset_id")
_SUFFIXES = ("count", "weight", "fraction", "weighted_fraction", "debiased", "flag")


def recognise(names: Sequence[str], tree: DecisionTree) -> bool:
    """Whether the column names are those of a Galaxy Zoo vote table."""
    return any(f"{column}_weighted_fraction" in names for column in tree.columns)


def read(
    table: SourceTable,
    *,
    tree: DecisionTree,
    survey: str,
    fractions: Fractions = "weighted",
    mapping: str | Path | None = None,
) -> Catalog:
    """Read a vote table.

    Debiased values do not sum to one within a question (Hart et al. 2016 correct each answer by itself), so they are
    divided by their sum. The debiased values as published are kept in `source_<question>_<answer>_debiased`, because
    the published cuts and the class string are defined on them; with `fractions="debiased"` the weighted ones are kept
    as `source_<question>_<answer>_weighted_fraction`.

    Args:
        table: the vote table.
        tree: the questions to look for; those the table does not have are null.
        survey: survey token.
        fractions: which of the published fractions to take.
        mapping: table `objid, sample, asset_id`: the image of galaxy `objid` is `{asset_id}.jpg`.

    Raises:
        InputError: a question is there in part only, or a value breaks the contract.
    """
    suffix = SUFFIX[fractions]
    asked = [question for question in tree.questions if _has(table, question, suffix)]
    columns: dict[str, pl.DataType | None] = {}
    answers: list[pl.Expr] = []
    for question in asked:
        counted = _has(table, question, "count")
        columns |= {f"{column}_{suffix}": pl.Float32() for column in question.columns}
        if counted:
            columns |= {f"{column}_count": pl.Float32() for column in question.columns}
        answers += _answers(question, suffix, counted=counted, renormalise=fractions == "debiased")
    kept = _kept(table, asked, suffix)
    columns |= {name: pl.Float32() for name in kept}
    answers += [pl.col(name).alias(f"source_{name}") for name in kept]
    head = _head(table, columns)
    others = [name for name in _others(table, tree) if name not in columns]
    columns |= {name: pl.String() if name in _IDENTIFIERS else None for name in others}
    answers += [pl.col(name).alias(f"source_{name}") for name in others]

    frame = table.collect(table.scan(columns).select(*head, *answers))
    check_fractions(frame, [f"source_{name}" for name in kept])
    frame = numbers_where_possible(frame, [f"source_{name}" for name in others if columns[name] is None])
    if mapping is not None:
        frame = _with_files(frame, SourceTable(mapping))
    return Catalog(complete(frame, tree), tree, survey)


def _has(table: SourceTable, question: Question, suffix: str) -> bool:
    """Whether the table has the question's answers with this suffix: all or none, anything between is an error."""
    missing = [f"{column}_{suffix}" for column in question.columns if f"{column}_{suffix}" not in table.names]
    if missing and len(missing) < len(question.columns):
        raise InputError(f"{table.path}: column {missing[0]!r} missing, other answers of {question.key!r} are there")
    return not missing


def _answers(question: Question, suffix: str, *, counted: bool, renormalise: bool) -> list[pl.Expr]:
    """The question's contract columns as expressions over the source columns; null where nobody was asked."""
    values = [pl.col(f"{column}_{suffix}") for column in question.columns]
    total = pl.sum_horizontal(values)
    known = total > 0
    expressions: list[pl.Expr] = []
    if counted:
        votes = pl.sum_horizontal(f"{column}_count" for column in question.columns)
        expressions.append(votes.alias(question.votes))
    if renormalise:  # a sum over some of the answers only would make the others too large
        known &= pl.all_horizontal(value.is_not_null() for value in values)
        values = [value / total for value in values]
    named = zip(question.columns, values, strict=True)
    return expressions + [pl.when(known).then(value).alias(column) for column, value in named]


def _kept(table: SourceTable, asked: list[Question], suffix: str) -> list[str]:
    """Published fractions carried along: debiased ones always, weighted ones where they are not the answer."""
    suffixes = {"debiased", "weighted_fraction"} - ({suffix} - {"debiased"})
    return [
        f"{column}_{kept}"
        for kept in sorted(suffixes)
        for question in asked
        if _has(table, question, kept)
        for column in question.columns
    ]


def _head(table: SourceTable, columns: dict[str, pl.DataType | None]) -> list[pl.Expr]:
    """Expressions for id, file, ra and dec; adds the source columns they need to `columns`."""
    head = []
    for name in ("ra", "dec"):
        if name in table.names:
            columns[name] = pl.Float64()
            head.append(pl.col(name))
    if "file" in table.names:
        columns["file"] = pl.String()
        head.append(pl.col("file"))
    id_column = next((name for name in ID_COLUMNS if name in table.names), None)
    if id_column is not None:
        columns[id_column] = pl.String()
        return [pl.col(id_column).alias("id"), *head]
    if not {"ra", "dec"} <= columns.keys():
        raise InputError(f"{table.path}: no galaxy ids; looked for {', '.join(ID_COLUMNS)} or both ra and dec")
    return [position_id().alias("id"), *head]


def position_id() -> pl.Expr:
    """Name from the columns `ra` and `dec` in degrees, cut (not rounded) as the IAU asks: `J165028.64+384910.0`."""
    seconds = (pl.col("ra") * 24000).floor().cast(pl.Int64)  # hundredths of a second of time
    arcsec = (pl.col("dec").abs() * 36000).floor().cast(pl.Int64)  # tenths of an arcsecond
    sign = pl.when(pl.col("dec") < 0).then(pl.lit("-")).otherwise(pl.lit("+"))

    def digits(value: pl.Expr) -> pl.Expr:
        return value.cast(pl.String).str.zfill(2)

    return pl.format(
        "J{}{}{}.{}{}{}{}{}.{}",
        digits(seconds // 360000),
        digits(seconds // 6000 % 60),
        digits(seconds // 100 % 60),
        digits(seconds % 100),
        sign,
        digits(arcsec // 36000),
        digits(arcsec // 600 % 60),
        digits(arcsec // 10 % 60),
        arcsec % 10,
    )


def _others(table: SourceTable, tree: DecisionTree) -> list[str]:
    """Columns that are neither votes nor part of the contract."""
    votes = {f"{column}_{suffix}" for column in tree.columns for suffix in _SUFFIXES}
    return [name for name in table.names if name not in votes and name not in ("file", "ra", "dec")]


def _with_files(frame: pl.DataFrame, mapping: SourceTable) -> pl.DataFrame:
    """Adds the image names. A galaxy listed more than once takes the image of its own sample, then the first asset."""
    for name in ("objid", "asset_id"):
        if name not in mapping.names:
            raise InputError(f"{mapping.path}: column {name!r} missing, expected objid, sample, asset_id")
    columns: dict[str, pl.DataType | None] = {
        name: pl.String() for name in ("objid", "sample", "asset_id") if name in mapping.names
    }
    assets = mapping.collect(mapping.scan(columns)).drop_nulls(["objid", "asset_id"])
    own_sample = "sample" in columns and "source_sample" in frame.columns
    if own_sample:
        samples = frame.select(objid="id", own="source_sample")
        assets = assets.join(samples, on="objid", how="left").sort(
            pl.col("sample") != pl.col("own"), pl.col("asset_id").str.len_chars(), "asset_id"
        )
    else:
        assets = assets.sort(pl.col("asset_id").str.len_chars(), "asset_id")
    first = assets.unique("objid", keep="first", maintain_order=True)
    files = first.select(id="objid", file=pl.col("asset_id") + ".jpg")
    joined = frame.drop("file", strict=False).join(files, on="id", how="left", maintain_order="left")
    if joined["file"].null_count() == joined.height:
        raise InputError(f"{mapping.path}: none of its objid is in the vote table")
    return joined
