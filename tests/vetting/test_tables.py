"""The published tables: every value comes back, and every tool is told what it is."""

import io
import warnings
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from astropy.io import fits, votable
from astropy.io.votable.ucd import check_ucd
from astropy.table import Table
from astropy.units import Unit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from galaxysd.vetting.tables import COLUMNS, write_fits, write_parquet, write_votable

ABOUT = {"TARGET": "{dust lane:1.3} é", "MODHASH": "c0ffee"}


def frame(**changes: object) -> pl.DataFrame:
    """Two rows: one with everything, one with as little as is allowed."""
    full = {"text": "gal 1", "whole": 3, "real": 0.1 + 0.2}
    bare = {"text": None, "whole": 0, "real": None}
    rows = [{one.name: kind[one.kind] for one in COLUMNS} for kind in (full, bare)]
    rows[0] |= changes
    types = {"text": pl.String, "whole": pl.Int64, "real": pl.Float64}
    return pl.DataFrame(rows, schema={one.name: types[one.kind] for one in COLUMNS}, orient="row")


def test_ucds_and_units_are_standard() -> None:
    for one in COLUMNS:
        assert check_ucd(one.ucd, check_controlled_vocabulary=True, has_colon=True), one.name
        assert one.description and len(one.name) <= 20
        if one.unit is not None:
            Unit(one.unit, format="vounit")


def test_fits_comes_back_bit_by_bit(tmp_path: Path) -> None:
    path = tmp_path / "c.fits"
    write_fits(path, frame(), ABOUT)
    with fits.open(path, checksum=True) as hdus:
        hdus.verify("exception")
        data, header = hdus[1].data, hdus[1].header
        for number, one in enumerate(COLUMNS, start=1):
            assert header[f"TTYPE{number}"] == one.name and header[f"TUCD{number}"] == one.ucd
            assert header[f"TCOMM{number}"] == one.description and header.get(f"TUNIT{number}") == one.unit
        assert header["TARGET"] == "{dust lane:1.3} \\xe9" and header["RADESYS"] == "ICRS"
        assert np.array_equal(data["score"], [0.1 + 0.2, np.nan], equal_nan=True)
        assert data["id"].tolist() == ["gal 1", ""] and data["rank"].tolist() == [3, 0]
    again = tmp_path / "again.fits"
    with fits.open(path) as hdus:
        hdus.writeto(again, checksum=True)
    with fits.open(path) as one, fits.open(again) as two:
        # The comments of checksums tell the second they were made in, and CHECKSUM is over them, too.
        assert fits.FITSDiff(one, two, ignore_keywords=["CHECKSUM"], ignore_comments=["DATASUM"]).identical
    table = Table.read(path)  # warnings are errors here
    assert table["ra"].unit == "deg" and table["known_separation"].unit == "arcsec"


def test_votable_is_valid_and_exact(tmp_path: Path) -> None:
    path = tmp_path / "c.vot"
    write_votable(path, frame(id="galaxie <é> & co"), ABOUT)
    report = io.StringIO()
    assert votable.validate(path, output=report), report.getvalue()
    assert "warning" not in report.getvalue().lower(), report.getvalue()
    document = votable.parse(path, verify="exception")
    table = document.get_first_table()
    assert [field.ucd for field in table.fields] == [one.ucd for one in COLUMNS]
    assert [field.description for field in table.fields] == [one.description for one in COLUMNS]
    assert [None if field.unit is None else str(field.unit) for field in table.fields] == [one.unit for one in COLUMNS]
    assert {info.name: info.value for info in document.resources[0].infos} == ABOUT
    assert document.resources[0].coordinate_systems[0].system == "ICRS"
    assert table.array["id"].tolist() == ["galaxie <é> & co", ""]
    assert table.array["score"][0] == 0.1 + 0.2 and np.isnan(table.array["score"].filled(np.nan)[1])


def test_parquet_is_exact_and_described(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    write_parquet(path, frame(), ABOUT)
    assert pl.read_parquet(path).equals(frame())
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # astropy must be told how long strings are
        assert Table.read(path)["id"][0] == frame()["id"][0]  # an absent name would be the word None
    schema = pq.read_schema(path)
    for one in COLUMNS:
        notes = schema.field(one.name).metadata
        assert (notes[b"ucd"].decode(), notes[b"unit"].decode()) == (one.ucd, one.unit or "")
    assert schema.metadata[b"IVOA.VOTable-Parquet.version"] == b"1.0" and schema.metadata[b"MODHASH"] == b"c0ffee"
    header = schema.metadata[b"IVOA.VOTable-Parquet.content"]
    assert b"<DATA>" not in header and b"<TABLEDATA>" not in header
    fields = votable.parse(io.BytesIO(header), verify="exception").get_first_table().fields
    assert [field.name for field in fields] == [one.name for one in COLUMNS]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0, 1), st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), max_size=30))
def test_any_number_and_name_survives_all_formats(tmp_path: Path, score: float, name: str) -> None:
    rows = frame(id=name, score=score)
    for write, ending in ((write_fits, "fits"), (write_votable, "vot"), (write_parquet, "parquet")):
        write(tmp_path / f"c.{ending}", rows, ABOUT)
    with fits.open(tmp_path / "c.fits") as hdus:
        assert (hdus[1].data["id"][0], hdus[1].data["score"][0]) == (name, score)
    table = votable.parse_single_table(tmp_path / "c.vot")
    assert (table.array["id"][0], table.array["score"][0]) == (name, score)
    assert pl.read_parquet(tmp_path / "c.parquet").select("id", "score").row(0) == (name, score)


def test_nothing_is_written_halfway(tmp_path: Path) -> None:
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        write_fits(tmp_path / "c.fits", frame().drop("rank"), ABOUT)
    assert not list(tmp_path.iterdir())
