"""Opens a table of a survey: CSV, CSV.gz, FITS, VOTable or Parquet in, chosen columns as a lazy polars frame out.

Only the columns asked for are read, with the types asked for. Ids are text from the first byte on: 18 digits do not
survive a float. NaN, which FITS has to use for "no value", becomes null.
"""

import gzip
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np
import polars as pl

from galaxysd.catalog.catalog import first_line
from galaxysd.errors import InputError

Columns = Mapping[str, pl.DataType | None]  # None: a number where all values are numbers, otherwise text

_FORMATS: dict[str, tuple[str, ...]] = {
    "csv": (".csv", ".csv.gz"),
    "parquet": (".parquet",),
    "fits": (".fits", ".fit", ".fits.gz"),
    "votable": (".vot", ".votable", ".xml", ".vot.gz", ".xml.gz"),
}


class SourceTable:
    """A table on disk.

    Attributes:
        path: the file.
        names: its columns, in order.

    Raises:
        InputError: the file is missing, empty, damaged or of no known format.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._format = _format(self.path)
        if not self.path.is_file():
            raise InputError(f"{path}: no such file")
        if self.path.stat().st_size == 0:
            raise InputError(f"{path}: is empty, expected a table with a header row")
        with self._readable():
            self.names, self._scan = _OPEN[self._format](self.path)

    def scan(self, columns: Columns) -> pl.LazyFrame:
        """The named columns, lazily, in the types given. Read the result with `collect`."""
        with self._readable():
            lazy = self._scan(columns)
            found = lazy.collect_schema()
        return lazy.select(_typed(pl.col(name), found[name], dtype) for name, dtype in columns.items())

    def collect(self, lazy: pl.LazyFrame) -> pl.DataFrame:
        """Run a query that began with `scan`; damage found on the way is an InputError that names the file."""
        with self._readable():
            return lazy.collect(engine="streaming")

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Turn every way a damaged file can fail into an InputError."""
        try:
            yield
        # astropy reports damage as whatever its parsers stumble over, hence the breadth
        except (
            OSError,
            EOFError,
            ValueError,
            TypeError,
            IndexError,
            KeyError,
            UserWarning,
            expat.ExpatError,
            pl.exceptions.PolarsError,
        ) as error:
            raise InputError(f"{self.path}: cannot be read as {self._format.upper()} ({first_line(error)})") from None


def numbers_where_possible(frame: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """Text columns in which every value is a number become numbers; in the others, empty text becomes null."""
    for name in columns:
        if frame[name].dtype != pl.String:
            continue
        text = frame[name].replace("", None)
        casts = (text.cast(dtype, strict=False) for dtype in (pl.Int64, pl.Float64))
        numbers = next((values for values in casts if values.null_count() == text.null_count()), text)
        frame = frame.with_columns(numbers.fill_nan(None) if numbers.dtype == pl.Float64 else numbers)
    return frame


def _format(path: Path) -> str:
    name = path.name.lower()
    for kind, endings in _FORMATS.items():
        if name.endswith(endings):
            return kind
    known = ", ".join(ending for endings in _FORMATS.values() for ending in endings)
    raise InputError(f"{path}: unknown kind of table, expected a name that ends in {known}")


def _typed(column: pl.Expr, found: pl.DataType, wanted: pl.DataType | None) -> pl.Expr:
    dtype = found if wanted is None else wanted
    if dtype != found:
        column = column.cast(dtype)
    return column.fill_nan(None) if dtype.is_float() else column


Opened = tuple[list[str], Callable[[Columns], pl.LazyFrame]]


def _open_csv(path: Path) -> Opened:
    def scan(columns: Columns) -> pl.LazyFrame:
        dtypes = {name: dtype for name, dtype in columns.items() if dtype is not None}
        return pl.scan_csv(path, infer_schema=False, schema_overrides=dtypes)

    return scan({}).collect_schema().names(), scan


def _open_parquet(path: Path) -> Opened:
    lazy = pl.scan_parquet(path)
    return lazy.collect_schema().names(), lambda columns: lazy


def _open_fits(path: Path) -> Opened:
    from astropy.table import Table  # astropy takes long to import and most tables are CSV

    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*truncated")  # astropy would go on with what is left
        return _from_astropy(Table.read(path, format="fits", memmap=True, mask_invalid=False))


def _open_votable(path: Path) -> Opened:
    from astropy.io import votable

    _refuse_references(path)
    return _from_astropy(votable.parse_single_table(path).to_table())


def _refuse_references(path: Path) -> None:
    """Refuse a VOTable that makes its reader fetch other files or addresses, or expand entities of its own."""
    parser = expat.ParserCreate(namespace_separator=" ")

    def started(name: str, attributes: dict[str, str]) -> None:
        if name.rpartition(" ")[2] == "STREAM" and "href" in attributes:
            raise InputError(
                f"{path}: refers to data elsewhere ({attributes['href'][:80]}); expected a table in one file"
            )

    def declared(*_: object) -> None:
        raise InputError(f"{path}: declares XML entities, which a table does not need; it is not read")

    parser.StartElementHandler, parser.EntityDeclHandler = started, declared
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        parser.ParseFile(file)


def _from_astropy(table: Any) -> Opened:
    """The one-dimensional columns; each is converted when it is asked for, till then a FITS column stays on disk."""
    names = [name for name in table.colnames if table[name].ndim == 1]
    return names, lambda columns: pl.DataFrame([_series(name, table[name]) for name in columns]).lazy()


def _series(name: str, column: Any) -> pl.Series:
    values, mask = np.ma.getdata(column), np.ma.getmaskarray(column)
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8")
    if values.dtype.kind in "UO":
        text = pl.Series(name, [str(value).strip() for value in values], dtype=pl.String)
        return text.set(text.eq("") | pl.Series(mask), None)
    series = pl.Series(name, np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("=")))
    return series.set(pl.Series(mask), None) if mask.any() else series


_OPEN: dict[str, Callable[[Path], Opened]] = {
    "csv": _open_csv,
    "parquet": _open_parquet,
    "fits": _open_fits,
    "votable": _open_votable,
}
