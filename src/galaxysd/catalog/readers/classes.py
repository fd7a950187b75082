"""Reads tables of hard classes ("0 is round, 3 is edge-on"), with a small YAML file that says what they mean.

In: a table with class columns and a `ClassMap` (built in: `classes/gz_kaggle.yaml`; a user's own has the same form).
Out: a `Catalog` in which a class sets its answers to 1, their rivals to 0, and says nothing about the rest.
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
from pydantic import Field

from galaxysd.catalog.catalog import Catalog, complete
from galaxysd.catalog.source import SourceTable, numbers_where_possible
from galaxysd.catalog.tree import DecisionTree, Key
from galaxysd.errors import InputError
from galaxysd.settings import FrozenModel

BUILT_IN = Path(__file__).parent / "classes"


class ClassMap(FrozenModel):
    """What the classes of a table mean."""

    name: Key
    id: str = Field(description="column with the galaxy's id")
    columns: dict[str, dict[str, tuple[str, ...]]] = Field(
        min_length=1, description="class column -> class, written as in the table -> answer columns that are true"
    )


def built_in() -> list[ClassMap]:
    """The class maps that come with GalaxySD."""
    return [ClassMap.read(path) for path in sorted(BUILT_IN.glob("*.yaml"))]


def recognise(names: Sequence[str], classes: ClassMap) -> bool:
    """Whether the table has the columns of the class map."""
    return {classes.id, *classes.columns} <= set(names)


def read(table: SourceTable, *, tree: DecisionTree, survey: str, classes: ClassMap) -> Catalog:
    """Read a table of hard classes. The image is the table's `file`, or `{id}.jpg` where it has no such column.

    Raises:
        InputError: a column is missing, or the class map names answers the tree does not have.
    """
    missing = [name for name in (classes.id, *classes.columns) if name not in table.names]
    if missing:
        raise InputError(f"{table.path}: column {missing[0]!r} missing, class map {classes.name!r} needs it")
    told = {answer for values in classes.columns.values() for answers in values.values() for answer in answers}
    foreign = sorted(told - set(tree.columns))
    if foreign:
        raise InputError(f"class map {classes.name!r}: answer {foreign[0]!r} is not in tree {tree.name!r}")
    others = [name for name in table.names if name not in (classes.id, "file", "ra", "dec")]
    columns: dict[str, pl.DataType | None] = dict.fromkeys(others)
    columns |= {name: pl.String() for name in (classes.id, *classes.columns, "file") if name in table.names}
    columns |= {name: pl.Float64() for name in ("ra", "dec") if name in table.names}
    raw = table.collect(table.scan(columns))
    head = [pl.col(classes.id).alias("id"), *(pl.col(name) for name in ("ra", "dec") if name in table.names)]
    file = pl.col("file") if "file" in table.names else pl.col(classes.id) + ".jpg"
    source = numbers_where_possible(raw.select(others), others).select(pl.all().name.prefix("source_"))
    frame = raw.select(*head, file.alias("file"), *_answers(tree, classes)).hstack(source)
    return Catalog(complete(frame, tree), tree, survey)


def _answers(tree: DecisionTree, classes: ClassMap) -> list[pl.Expr]:
    expressions = []
    for question in tree.questions:
        for column in question.columns:
            told = []  # what each class column says about this answer, null where it says nothing about the question
            for name, values in classes.columns.items():
                true = [value for value, answers in values.items() if column in answers]
                asked = [value for value, answers in values.items() if set(question.columns) & set(answers)]
                told.append(pl.when(pl.col(name).is_in(asked)).then(pl.col(name).is_in(true).cast(pl.Float32)))
            expressions.append(pl.coalesce(told).alias(column))
    return expressions
