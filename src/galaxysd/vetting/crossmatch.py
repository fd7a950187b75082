"""Which candidates are known already: lists of other people's galaxies, compared on the sky.

In: positions (deg, ICRS) and lists as CSV, Parquet, FITS or VOTable, which may come from anyone. Out: for each
candidate whether it is new, and the known galaxy it is otherwise.
"""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from galaxysd.catalog.source import SourceTable
from galaxysd.errors import InputError
from galaxysd.vetting.candidates import printable

RA = ("ra", "raj2000", "_raj2000", "ra_icrs", "ra_deg", "radeg", "s_ra")
DEC = ("dec", "dej2000", "decj2000", "_dej2000", "de_icrs", "dec_icrs", "dec_deg", "decdeg", "s_dec")
NAMES = ("id", "name", "main_id", "iauname", "objid", "dr7objid", "source_id", "id_str", "pgcname")
DEGREES = (None, "", "deg", "degree", "degrees")
MOST_LETTERS = 200  # of a name
SCHEMA = {"known": pl.String, "known_id": pl.String, "known_list": pl.String, "known_separation": pl.Float64}


def read_known(path: str | Path) -> pl.DataFrame:
    """A list of known galaxies.

    Returns:
        `id` (the row number from 1 where the list has no names), `ra`, `dec` (deg); rows without a position are left
        out.

    Raises:
        InputError: the file cannot be read, is not in degrees, or holds a position that is none.
    """
    path = Path(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # how other people spell units and headers is not our reader's concern
        source = SourceTable(path)
        names = {name.lower(): name for name in reversed(source.names)}
        ra, dec, name = (next((names[one] for one in known if one in names), None) for known in (RA, DEC, NAMES))
        if ra is None or dec is None:
            raise InputError(f"{path}: no columns with positions ({', '.join(source.names[:6])}); expected ra and dec")
        for column, unit in _units(path):
            if column in (ra, dec) and unit not in DEGREES:
                raise InputError(f"{path}: column {column!r} is in {unit!r}; expected deg")
        columns: dict[str, pl.DataType | None] = {ra: pl.Float64(), dec: pl.Float64()}
        columns |= {} if name is None else {name: pl.String()}
        frame = source.collect(source.scan(columns)).with_row_index("row", offset=1)
    label = pl.col("row").cast(pl.String) if name is None else pl.col(name).fill_null(pl.col("row").cast(pl.String))
    frame = frame.select("row", id=label.str.strip_chars(), ra=ra, dec=dec)
    frame = frame.filter(pl.col("ra").is_finite() & pl.col("dec").is_finite())
    wrong = frame.filter(~pl.col("ra").is_between(0, 360, closed="left") | ~pl.col("dec").is_between(-90, 90))
    if wrong.height:
        row, _, ra_value, dec_value = wrong.row(0)
        raise InputError(
            f"{path}: row {row} is at ra {ra_value:g}, dec {dec_value:g}; "
            "expected degrees, ra in [0, 360) and dec in [-90, 90]"
        )
    for row, text in frame.select("row", "id").iter_rows():
        if len(text) > MOST_LETTERS or not printable(text):
            raise InputError(f"{path}: row {row}: the name is longer than {MOST_LETTERS} letters or cannot be printed")
    return frame.drop("row")


def crossmatch(positions: pl.DataFrame, lists: Sequence[str | Path], radius: float) -> pl.DataFrame:
    """The nearest known galaxy to every candidate, great-circle distance.

    Args:
        positions: `ra`, `dec` (deg), null where unknown; N rows.
        lists: files, see `read_known`.
        radius: within which two positions are the same galaxy, arcsec.

    Returns:
        N rows in the same order: `known` ("known"; "new"; "unplaced" without a position; null without lists),
        `known_id`, `known_list` (file name) and `known_separation` (arcsec) of the nearest galaxy within the radius.

    Raises:
        InputError: as `read_known`.
    """
    from astropy import units
    from astropy.coordinates import SkyCoord

    if not lists:
        return pl.DataFrame([(None,) * len(SCHEMA)] * positions.height, schema=SCHEMA, orient="row")
    known = pl.concat([read_known(path).with_columns(list=pl.lit(Path(path).name)) for path in lists])
    placed = positions.with_row_index("place").drop_nulls(["ra", "dec"])
    rows: list[tuple[str, str | None, str | None, float | None]] = [("unplaced", None, None, None)] * positions.height
    for place in placed["place"]:
        rows[place] = ("new", None, None, None)
    if placed.height and known.height:
        ours, theirs = (
            SkyCoord(frame["ra"].to_numpy() * units.deg, frame["dec"].to_numpy() * units.deg)
            for frame in (placed, known)
        )
        index, separation, _ = ours.match_to_catalog_sky(theirs)
        arcsec = separation.arcsec
        for hit in np.flatnonzero(arcsec <= radius):
            row = known.row(int(index[hit]), named=True)
            rows[placed["place"][int(hit)]] = ("known", row["id"], row["list"], float(arcsec[hit]))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _units(path: Path) -> Iterator[tuple[str, str | None]]:
    """Columns and units of a FITS table or VOTable; CSV and Parquet have none."""
    name = path.name.lower()
    if name.endswith((".fits", ".fit", ".fits.gz")):
        from astropy.io import fits

        with fits.open(path) as hdus:
            columns = next(hdu.columns for hdu in hdus if isinstance(hdu, fits.BinTableHDU | fits.TableHDU))
            yield from ((column.name, column.unit) for column in columns)
    elif not name.endswith((".csv", ".csv.gz", ".parquet")):
        from astropy.io import votable

        for field in votable.parse_single_table(path).fields:
            yield field.ID, None if field.unit is None else str(field.unit)
