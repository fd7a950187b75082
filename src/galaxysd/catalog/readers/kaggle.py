"""Reads the Kaggle Galaxy Zoo challenge: `GalaxyID, Class1.1 … Class11.6`, 37 answers of Galaxy Zoo 2, no counts.

In: **cumulative** fractions, already multiplied down the tree, so that a group sums to the share of volunteers who
reached the question. Out: a `Catalog` of conditional fractions, each group divided by its own sum.
"""

from collections.abc import Sequence

import polars as pl

from galaxysd.catalog.catalog import Catalog, check_fractions, complete
from galaxysd.catalog.source import SourceTable, numbers_where_possible
from galaxysd.catalog.tree import DecisionTree, Question
from galaxysd.errors import InputError

ID_COLUMN = "GalaxyID"


def recognise(names: Sequence[str]) -> bool:
    """Whether the column names are those of the challenge."""
    return ID_COLUMN in names and "Class1.1" in names


def read(table: SourceTable, *, tree: DecisionTree, survey: str) -> Catalog:
    """Read the challenge's table. The image is the table's `file`, or `{GalaxyID}.jpg` where it has no such column.

    A question nobody reached (sum 0) is null. Votes are null: the challenge published no counts.

    Raises:
        InputError: a Class column is missing, or a value lies outside [0, 1].
    """
    groups = {question: _group(question) for question in tree.questions}
    needed = [ID_COLUMN, *(name for group in groups.values() for name in group)]
    missing = [name for name in needed if name not in table.names]
    if missing:
        raise InputError(f"{table.path}: column {missing[0]!r} missing, expected GalaxyID, Class1.1 … Class11.6")
    others = [name for name in table.names if name not in (*needed, "file")]
    columns: dict[str, pl.DataType | None] = {name: pl.Float32() for name in needed} | dict.fromkeys(others)
    columns[ID_COLUMN] = pl.String()
    file = pl.col(ID_COLUMN) + ".jpg"
    if "file" in table.names:
        columns["file"] = pl.String()
        file = pl.col("file")
    raw = table.collect(table.scan(columns).with_columns(id=pl.col(ID_COLUMN), file=file))
    check_fractions(raw, needed[1:])
    raw = numbers_where_possible(raw, others).rename({name: f"source_{name}" for name in others})
    answers = [
        pl.when(pl.sum_horizontal(group) > 0).then(pl.col(name) / pl.sum_horizontal(group)).alias(column)
        for question, group in groups.items()
        for column, name in zip(question.columns, group, strict=True)
    ]
    return Catalog(complete(raw.select("id", "file", *answers, pl.col("^source_.*$")), tree), tree, survey)


def _group(question: Question) -> list[str]:
    """Names of the challenge's columns for a question: `t07_rounded` is Class7.1, Class7.2, …"""
    number = question.key.partition("_")[0].removeprefix("t")
    if not number.isdecimal():
        raise InputError(f"tree: question {question.key!r} is not one of Galaxy Zoo 2, which the Kaggle table answers")
    return [f"Class{int(number)}.{answer}" for answer, _ in enumerate(question.answers, start=1)]
