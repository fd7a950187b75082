"""Reads any table that already speaks the language of a decision tree, such as a user's own survey.

In: `<question>_<answer>` (or `<question>_<answer>_fraction`) columns of conditional fractions, at will
`<question>_votes` (or `<question>_total-votes`, as Galaxy Zoo DECaLS writes it). Out: a `Catalog`.
"""

from collections.abc import Sequence

import polars as pl

from galaxysd.catalog.catalog import Catalog, complete
from galaxysd.catalog.source import SourceTable, numbers_where_possible
from galaxysd.catalog.tree import DecisionTree, Question
from galaxysd.errors import InputError

ID_COLUMNS = ("id", "id_str", "iauname", "dr7objid", "objid")


def recognise(names: Sequence[str], tree: DecisionTree) -> bool:
    """Whether at least one question of the tree is there with all its answers."""
    return any(_find(names, question) for question in tree.questions)


def read(table: SourceTable, *, tree: DecisionTree, survey: str) -> Catalog:
    """Read the table. Questions it does not have are null.

    Where nobody was asked the answers are null: that is where the votes are 0, or, in a table without votes, where all
    answers of the question are 0.

    Raises:
        InputError: no id column, a question is there in part only, or a value breaks the contract.
    """
    id_column = next((name for name in ID_COLUMNS if name in table.names), None)
    if id_column is None:
        raise InputError(f"{table.path}: no galaxy ids; looked for {', '.join(ID_COLUMNS)}")
    columns: dict[str, pl.DataType | None] = {id_column: pl.String()}
    columns |= {"file": pl.String()} if "file" in table.names else {}
    columns |= {name: pl.Float64() for name in ("ra", "dec") if name in table.names}
    chosen = [pl.col(id_column).alias("id"), *(pl.col(name) for name in columns if name != id_column)]
    for question in tree.questions:
        found = _find(table.names, question)
        if not found:
            _refuse_part(table, question)
            continue
        columns |= {name: pl.Float32() for name in found}
        votes = next((name for name in _votes(question) if name in table.names), None)
        asked = pl.sum_horizontal(found) > 0
        if votes is not None:
            columns[votes] = pl.Float32()
            chosen.append(pl.col(votes).alias(question.votes))
            asked = pl.col(votes) > 0
        for column, name in zip(question.columns, found, strict=True):
            chosen.append(pl.when(asked).then(pl.col(name)).alias(column))
    others = [name for name in table.names if name not in columns]
    columns |= dict.fromkeys(others)
    source = {name: name if name.startswith("source_") else f"source_{name}" for name in others}
    chosen += [pl.col(name).alias(alias) for name, alias in source.items()]
    frame = numbers_where_possible(table.collect(table.scan(columns).select(chosen)), list(source.values()))
    return Catalog(complete(frame, tree), tree, survey)


def _find(names: Sequence[str], question: Question) -> list[str]:
    """The source's columns with the fractions of a question, empty if it does not have all of them.

    `_fraction` goes first: tables that have both write vote counts into the bare name.
    """
    for suffix in ("_fraction", ""):
        found = [f"{column}{suffix}" for column in question.columns]
        if set(found) <= set(names):
            return found
    return []


def _refuse_part(table: SourceTable, question: Question) -> None:
    present = [column for column in question.columns if column in table.names or f"{column}_fraction" in table.names]
    missing = [column for column in question.columns if column not in present]
    if present:
        raise InputError(f"{table.path}: column {missing[0]!r} missing, other answers of {question.key!r} are there")


def _votes(question: Question) -> tuple[str, str]:
    return question.votes, f"{question.key}_total-votes"
