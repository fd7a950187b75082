"""What people saw, in one table: a `Catalog` is a polars frame in the column contract plus its decision tree.

Readers (readers/) make catalogues, selection.py and splits.py narrow and split them, everything downstream takes the
arrays `fractions()`, `votes()` and `reach()`. On disk a catalogue is one Parquet file that carries its tree.
"""

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from galaxysd.catalog.tree import DecisionTree
from galaxysd.errors import InputError

SPLITS = ("train", "val", "test")
TOLERANCE = 1e-6  # rounding that a fraction may show outside [0, 1]; such values are clipped

_METADATA = "galaxysd"
_LOST_DIGITS = r"^\d\.\d+[eE]\+?\d+$|^\d{16,}\.0+$"  # an id of 18 digits that went through a float

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Catalog:
    """Galaxies and their votes.

    Attributes:
        frame: one row per galaxy, columns in this order: `id` (text, unique), `file` (image name) or null, `ra` and
            `dec` in degrees or null, `split` (only after splitting), `<question>_<answer>` for every answer (Float32,
            fraction conditional on the question having been reached, null where nobody was asked),
            `<question>_votes` for every question (Float32, null where the survey tells no counts), then `source_…`.
        tree: the questions.
        survey: survey and framing token, the first word of a prompt (`sdss`, `efigi`, …).

    Raises:
        InputError: the frame breaks the contract; the message names row, column and value.
    """

    frame: pl.DataFrame
    tree: DecisionTree
    survey: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", self.survey):
            raise InputError(f"survey {self.survey!r}: expected one lower-case word such as 'sdss'")
        object.__setattr__(self, "frame", _validated(self.frame, self.tree))

    def __len__(self) -> int:
        return self.frame.height

    def fractions(self) -> FloatArray:
        """Conditional fractions `[N, A]` in the order of `tree.columns`; NaN where nobody was asked."""
        return _array(self.frame, self.tree.columns)

    def votes(self) -> FloatArray:
        """Votes per question `[N, Q]`; NaN where the survey tells no counts."""
        return _array(self.frame, [question.votes for question in self.tree.questions])

    def reach(self) -> FloatArray:
        """How likely a volunteer reached each question: `[N, Q]`, the product of the ancestors' fractions.

        1 for questions asked of everyone, 0 as soon as one ancestor is 0, NaN where an ancestor is unknown.
        """
        column = dict(zip(self.tree.columns, self.fractions().T, strict=True))
        reach = np.ones((len(self), len(self.tree.questions)), dtype=np.float32)
        for index, question in enumerate(self.tree.questions):
            ancestors = [column[name] for name in self.tree.ancestors(question.key)]
            for values in ancestors:
                reach[:, index] *= values
            for values in ancestors:  # a closed way is closed, whatever else is unknown
                reach[values == 0, index] = 0
        return reach

    def with_frame(self, frame: pl.DataFrame) -> Self:
        """The same tree and survey around another frame."""
        return type(self)(frame, self.tree, self.survey)

    def filter(self, keep: pl.Series) -> Self:
        """The rows where the Boolean series `keep` `[N]` is true (null counts as false)."""
        return self.with_frame(self.frame.filter(keep))

    def write(self, path: str | Path) -> None:
        """Write one Parquet file; tree and survey travel in its metadata. Appears under its name only when complete."""
        path = Path(path)
        metadata = {_METADATA: json.dumps({"survey": self.survey, "tree": self.tree.model_dump(mode="json")})}
        partial = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            self.frame.write_parquet(partial, metadata=metadata)
            partial.replace(path)
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror or error})") from None
        finally:
            partial.unlink(missing_ok=True)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read what `write` wrote.

        Raises:
            InputError: the file is missing, is no Parquet file, or was not written by GalaxySD.
        """
        try:
            text = pl.read_parquet_metadata(path).get(_METADATA)
            frame = pl.read_parquet(path)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise InputError(f"{path}: cannot be read as Parquet ({first_line(error)})") from None
        if text is None:
            raise InputError(f"{path}: is a table of someone else's, not a GalaxySD catalogue; read it with read_votes")
        values: dict[str, Any] = json.loads(text)
        return cls(frame, DecisionTree.parse(values["tree"], str(path)), values["survey"])


def complete(frame: pl.DataFrame, tree: DecisionTree) -> pl.DataFrame:
    """The frame with every contract column: what the source does not have is null ("nobody was asked")."""
    dtypes = {**_head(split=False), **_answers_and_votes(tree)}
    return frame.with_columns(
        pl.lit(None, dtype=dtype).alias(name) for name, dtype in dtypes.items() if name not in frame.columns
    )


def check_fractions(frame: pl.DataFrame, columns: Sequence[str]) -> None:
    """Every value lies in [0, 1] or is null.

    Raises:
        InputError: naming the first offending column, row, galaxy and value.
    """
    wrong = ~pl.col(columns).is_between(-TOLERANCE, 1 + TOLERANCE)
    _raise_first(frame, columns, wrong, "expected a fraction in [0, 1], or no value")


def first_line(error: Exception) -> str:
    """The first line of an error's text, for messages of one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _head(*, split: bool) -> dict[str, pl.DataType]:
    head: dict[str, pl.DataType] = {"id": pl.String(), "file": pl.String(), "ra": pl.Float64(), "dec": pl.Float64()}
    return {**head, "split": pl.String()} if split else head


def _answers_and_votes(tree: DecisionTree) -> dict[str, pl.DataType]:
    names = [*tree.columns, *(question.votes for question in tree.questions)]
    return {name: pl.Float32() for name in names}


def _array(frame: pl.DataFrame, columns: Iterable[str]) -> FloatArray:
    return frame.select(pl.col(list(columns)).fill_null(float("nan"))).to_numpy().astype(np.float32, copy=False)


def _validated(frame: pl.DataFrame, tree: DecisionTree) -> pl.DataFrame:
    """The frame with types, order and clipping of the contract, or an InputError."""
    dtypes = {**_head(split="split" in frame.columns), **_answers_and_votes(tree)}
    missing = [name for name in dtypes if name not in frame.columns]
    if missing:
        raise InputError(f"catalogue: {_listed('column', missing)} missing (tree {tree.name!r})")
    source = [name for name in frame.columns if name not in dtypes]
    foreign = [name for name in source if not name.startswith("source_")]
    if foreign:
        raise InputError(
            f"catalogue: {_listed('column', foreign)} not in tree {tree.name!r}; a source's own start with 'source_'"
        )
    if frame.height == 0:
        raise InputError("catalogue: no galaxies (the table has no rows)")
    try:
        frame = frame.select(*(pl.col(name).cast(dtype) for name, dtype in dtypes.items()), *source)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"catalogue: a column is of the wrong type ({first_line(error)})") from None
    _check_ids(frame)
    check_fractions(frame, tree.columns)
    votes = [question.votes for question in tree.questions]
    _raise_first(frame, votes, ~pl.col(votes).is_between(0, float("inf"), closed="left"), "expected a count of votes")
    _raise_first(frame, ["ra"], ~pl.col("ra").is_between(0, 360), "expected degrees in [0, 360]")
    _raise_first(frame, ["dec"], ~pl.col("dec").is_between(-90, 90), "expected degrees in [-90, 90]")
    if "split" in frame.columns:
        _raise_first(frame, ["split"], ~pl.col("split").is_in(SPLITS), f"expected one of {', '.join(SPLITS)}")
    nobody_asked = {question.key: pl.col(question.votes).eq(0).fill_null(False) for question in tree.questions}
    return frame.with_columns(
        pl.when(~nobody_asked[question.key]).then(pl.col(column).clip(0, 1)).alias(column)
        for column, question in tree.question_of.items()
    )


def _check_ids(frame: pl.DataFrame) -> None:
    ids = frame["id"]
    nameless = ids.fill_null("").eq("")
    if nameless.any():
        raise InputError(f"catalogue: row {nameless.arg_max()} has no id")
    if not ids.is_unique().all():
        repeated = ids.filter(ids.is_duplicated())
        rows = ids.eq(repeated[0]).arg_true().to_list()
        raise InputError(
            f"catalogue: {repeated.n_unique()} ids are not unique, e.g. {repeated[0]!r} in rows {rows[0]} and {rows[1]}"
        )
    lost = ids.str.contains(_LOST_DIGITS)
    if lost.any():
        raise InputError(
            f"catalogue: id {ids.filter(lost)[0]!r} in row {lost.arg_max()} lost its digits as a floating-point number;"
            " store ids as text or integers"
        )


def _raise_first(frame: pl.DataFrame, columns: Sequence[str], wrong: pl.Expr, expected: str) -> None:
    """Raise InputError for the first true value of `wrong` (an expression over all of `columns`)."""
    if not frame.select(pl.any_horizontal(wrong.any())).item():
        return
    for name in columns:  # only on the way to an error
        marks = frame.select(wrong.name.keep()).get_column(name)
        if marks.any():
            row = marks.fill_null(False).arg_max()
            assert row is not None
            galaxy, value = frame.item(row, "id"), frame.item(row, name)
            raise InputError(f"catalogue: column {name!r}, row {row} (id {galaxy}): {value} found, {expected}")


def _listed(noun: str, names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{noun} {shown}{more}" if len(names) == 1 else f"{noun}s {shown}{more}"
