"""What is asked for: one prompt, several, or a table of prompts, as a stream of single galaxies.

In: prompts, or a table with the column `prompt` and, optionally, `n` (or `count`) and `seed`. Out: `PromptTable`, which
yields one `RequestRow` per galaxy. Galaxy i, counted over everything asked for, has seed `seed` + i unless its row
gives one; the galaxies of a row that does have that seed, the next one, and so on.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from galaxysd.catalog.source import SourceTable
from galaxysd.diffusion.pipeline import MAX_SEED, GalaxyPipeline, Request, check_seed
from galaxysd.errors import InputError
from galaxysd.prompts import Morphology

MAX_GALAXIES = 10_000_000
UNDERSTOOD = 4096  # morphologies kept in memory; a table may have any number of prompts


@dataclass(frozen=True)
class RequestRow:
    """One galaxy to be dreamed.

    Attributes:
        id: `<row>-<number>`, both from 0; names its files.
        row: row of the request.
        number: number within the row.
        prompt: as given.
        request: morphology and seed.
    """

    id: str
    row: int
    number: int
    prompt: str
    request: Request


class PromptTable:
    """Prompts with their counts and seeds.

    Attributes:
        frame: `prompt`, `n` (galaxies), `seed` (of the first one, or null), a row per prompt.
        source: the file they come from; None: given directly.
    """

    def __init__(self, frame: pl.DataFrame, source: Path | None = None) -> None:
        """Take checked rows.

        Raises:
            InputError: nothing, or far too much, is asked for.
        """
        self.frame, self.source = frame, source
        self._ends = np.cumsum(frame["n"].to_numpy())
        if frame.height == 0:
            raise InputError(f"{source or 'prompts'}: no prompts are given")
        if self.galaxies > MAX_GALAXIES:
            raise InputError(
                f"{source or 'prompts'}: {self.galaxies:,} galaxies are asked for; at most {MAX_GALAXIES:,} at a time"
            )

    @classmethod
    def of(cls, prompts: Sequence[str], n: int = 1) -> Self:
        """`n` galaxies of each prompt.

        Raises:
            InputError: no prompt, or `n` out of range.
        """
        _check_n(n, "n")
        frame = pl.DataFrame({"prompt": prompts}, schema={"prompt": pl.String})
        return cls(frame.with_columns(n=pl.lit(n, dtype=pl.Int64), seed=pl.lit(None, dtype=pl.Int64)))

    @classmethod
    def read(cls, path: str | Path, n: int = 1) -> Self:
        """A table of prompts; a row without a number asks for `n` galaxies.

        Args:
            path: CSV or Parquet (FITS and VOTable are read as well).
            n: galaxies of a row that does not say.

        Raises:
            InputError: unreadable, no column `prompt`, or a row that makes no sense (rows are counted from 1).
        """
        _check_n(n, "n")
        table = SourceTable(path)
        if "prompt" not in table.names:
            found = ", ".join(repr(name[:40]) for name in table.names[:6])
            raise InputError(f"{path}: no column 'prompt'; it has {found}")
        counts = [name for name in ("n", "count") if name in table.names]
        if len(counts) > 1:
            raise InputError(f"{path}: has both columns 'n' and 'count'; keep one of them")
        numbers = [*counts, *(["seed"] if "seed" in table.names else [])]
        columns: dict[str, pl.DataType | None] = dict.fromkeys(["prompt", *numbers], pl.String())
        text = table.collect(table.scan(columns))
        if text.height == 0:
            raise InputError(f"{path}: the table has no rows")
        blank = text["prompt"].is_null() | (text["prompt"].str.strip_chars() == "")
        if blank.any():
            raise InputError(f"{path}: row {_first(blank)}: the prompt is empty; write 'galaxy' for any galaxy at all")
        whole = {name: _whole_numbers(text[name], path, name) for name in numbers}
        given = whole[counts[0]] if counts else pl.Series([None], dtype=pl.Int64).new_from_index(0, text.height)
        frame = pl.DataFrame(
            {
                "prompt": text["prompt"],
                "n": given.fill_null(n),
                "seed": whole.get("seed", pl.Series([None], dtype=pl.Int64).new_from_index(0, text.height)),
            }
        )
        wrong = ~frame["n"].is_between(1, MAX_GALAXIES)
        if wrong.any():
            row = _first(wrong)
            _check_n(frame["n"][row - 1], f"{path}: row {row}: {counts[0]}")
        wrong = (frame["seed"] < 0).fill_null(False)
        if wrong.any():
            raise InputError(f"{path}: row {_first(wrong)}: seed must not be negative")
        return cls(frame, Path(path))

    @property
    def galaxies(self) -> int:
        """How many galaxies are asked for."""
        return int(self._ends[-1])

    def limited(self, limit: int | None) -> "PromptTable":
        """The first `limit` galaxies.

        Raises:
            InputError: `limit` is not positive.
        """
        if limit is None:
            return self
        if limit < 1:
            raise InputError(f"limit must be at least 1, not {limit}")
        counts = np.diff(np.minimum(self._ends, limit), prepend=0)
        frame = self.frame.with_columns(n=pl.Series(counts))
        return PromptTable(frame.filter(pl.col("n") > 0), self.source)

    def content_hash(self) -> str:
        """16 hex digits over all rows."""
        total = hashlib.sha256()
        for prompt, n, seed in self.frame.iter_rows():
            total.update(f"{len(prompt)} {prompt} {n} {seed}\n".encode())
        return total.hexdigest()[:16]

    def check(self, pipeline: GalaxyPipeline, seed: int) -> None:
        """Make sure that the model understands every prompt before the first galaxy is dreamed.

        Raises:
            InputError: naming the row, or a seed out of range.
        """
        check_seed(seed)
        check_seed(seed + self.galaxies - 1)
        understood: set[str] = set()
        for number, (prompt, n, own) in enumerate(self.frame.iter_rows(), start=1):
            where = f"prompt {number}: " if len(self.frame) > 1 else ""
            if self.source:
                where = f"{self.source}: row {number}: "
            if own is not None and own + n - 1 > MAX_SEED:
                raise InputError(f"{where}seed + n must not exceed {MAX_SEED}")
            if prompt in understood:
                continue
            try:
                pipeline.understand(prompt)
            except InputError as error:
                raise InputError(f"{where}{error}") from None
            if len(understood) < UNDERSTOOD:
                understood.add(prompt)

    def items(
        self, pipeline: GalaxyPipeline, seed: int, start: int = 0, stop: int | None = None
    ) -> Iterator[RequestRow]:
        """Galaxies `start` to `stop` (exclusive) of everything asked for, one at a time.

        Args:
            pipeline: understands the prompts.
            seed: of the first galaxy.
            start: index of the first galaxy wanted.
            stop: index behind the last; None: all.
        """

        @lru_cache(maxsize=UNDERSTOOD)
        def understand(prompt: str) -> Morphology:
            return pipeline.framed(pipeline.understand(prompt))

        stop = self.galaxies if stop is None else min(stop, self.galaxies)
        row = int(np.searchsorted(self._ends, start, side="right"))
        index = start
        while index < stop:
            prompt, n, own = self.frame.row(row)
            begin = int(self._ends[row]) - n
            morphology = understand(prompt)
            end = min(begin + n, stop)
            for position in range(index, end):
                number = position - begin
                request = Request(morphology, seed + position if own is None else own + number)
                yield RequestRow(f"{row:06d}-{number:04d}", row, number, prompt, request)
            index, row = end, row + 1


def _check_n(n: int, name: str) -> None:
    if not 1 <= n <= MAX_GALAXIES:
        raise InputError(f"{name} must lie between 1 and {MAX_GALAXIES:,}, not {n}")


def _whole_numbers(text: pl.Series, path: str | Path, name: str) -> pl.Series:
    """Text as Int64, null where there is none."""
    text = text.str.strip_chars()
    text = text.set(text == "", None)
    values = text.cast(pl.Int64, strict=False)
    wrong = values.is_null() & text.is_not_null()
    if wrong.any():
        row = _first(wrong)
        raise InputError(f"{path}: row {row}: {name} {text[row - 1][:40]!r} is not a whole number")
    return values


def _first(marks: pl.Series) -> int:
    """Number of the first marked row, from 1."""
    row = marks.fill_null(False).arg_max()
    assert row is not None
    return row + 1
