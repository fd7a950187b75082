"""Known galaxies on the sky, from lists that may come from anyone."""

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st

from galaxysd.errors import InputError
from galaxysd.vetting.crossmatch import crossmatch, read_known

KNOWN = Table({"NAME": ["M 87", "Sombrero"], "RA": [187.70593, 189.99763] * units.deg, "DEC": [12.39112, -11.62305]})


def places(*positions: tuple[float | None, float | None]) -> pl.DataFrame:
    return pl.DataFrame(positions, schema={"ra": pl.Float64, "dec": pl.Float64}, orient="row")


@pytest.mark.parametrize("name", ["known.fits", "known.vot", "known.csv", "known.vot.gz"])
def test_lists_of_every_format_mark_the_known(tmp_path: Path, name: str) -> None:
    kind = {"fits": "fits", "vot": "votable", "csv": "ascii.csv"}[name.split(".")[1]]
    path = tmp_path / name.removesuffix(".gz")
    KNOWN.write(path, format=kind)
    if name.endswith(".gz"):
        (tmp_path / name).write_bytes(gzip.compress(path.read_bytes()))
    frame = crossmatch(
        places((187.70593, 12.39112 + 2 / 3600), (187.70593, 12.39112 + 4 / 3600), (None, None), (10.0, -10.0)),
        [tmp_path / name],
        3.0,
    )
    assert frame["known"].to_list() == ["known", "new", "unplaced", "new"]
    assert frame.row(0)[1:3] == ("M 87", name) and frame["known_separation"][0] == pytest.approx(2, abs=1e-4)


@given(st.floats(0, 359.99), st.floats(-89.9, 89.9), st.floats(0, 360), st.floats(0.01, 6))
def test_distances_are_great_circles_also_across_zero_and_near_poles(
    tmp_path_factory: pytest.TempPathFactory, ra: float, dec: float, angle: float, apart: float
) -> None:
    path = tmp_path_factory.mktemp("known") / "known.csv"
    other = SkyCoord(ra, dec, unit="deg").directional_offset_by(angle * units.deg, apart * units.arcsec)
    path.write_text(
        f"ra,dec\n{other.ra.deg % 360!r},{other.dec.deg!r}\n".replace("np.float64", "")
        .replace("(", "")
        .replace(")", "")
    )
    row = crossmatch(places((ra, dec)), [path], 3.0).row(0, named=True)
    if abs(apart - 3) > 1e-3:
        assert row["known"] == ("known" if apart < 3 else "new")
    if row["known"] == "known":
        assert row["known_separation"] == pytest.approx(apart, abs=1e-3) and row["known_id"] == "1"


def test_the_nearest_of_several_lists_counts(tmp_path: Path) -> None:
    (tmp_path / "far.csv").write_text("id,ra,dec\nfar,10.0005,0\n")
    (tmp_path / "near.csv").write_text("id,RAJ2000,DEJ2000\nnear,10.0001,0\nlost,,\n")
    frame = crossmatch(places((10.0, 0.0)), [tmp_path / "far.csv", tmp_path / "near.csv"], 5.0)
    assert frame.row(0)[:3] == ("known", "near", "near.csv")
    assert crossmatch(places((10.0, 0.0)), [], 5.0).row(0) == (None, None, None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,x\na,1\n", r"no columns with positions \(name, x\)"),
        ("ra,dec\n10,5\n400,5\n", r"row 2 is at ra 400, dec 5; expected degrees"),
        ("ra,dec\n10,-91\n", r"row 1 is at ra 10, dec -91"),
        ("ra,dec\n12:30:49,12:23:28\n", r"known.csv: cannot be read as CSV"),
        ("id,ra,dec\n" + "x" * 500 + ",1,1\n", r"row 1: the name is longer than 200 letters"),
        ("", r"is empty"),
    ],
)
def test_bad_lists_are_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "known.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        read_known(path)
    assert "\n" not in str(error.value)


def test_hours_are_refused(tmp_path: Path) -> None:
    table = Table({"ra": [12.5] * units.hourangle, "dec": [1.0] * units.deg})
    table.write(tmp_path / "known.vot", format="votable")
    with pytest.raises(InputError, match="column 'ra' is in '15 deg'; expected deg"):
        read_known(tmp_path / "known.vot")


STREAM = """<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE>
<FIELD name="ra" datatype="double"/><FIELD name="dec" datatype="double"/>
<DATA><BINARY><STREAM href="file:///etc/hostname"/></BINARY></DATA></TABLE></RESOURCE></VOTABLE>"""


def test_a_votable_may_not_reach_out(tmp_path: Path) -> None:
    path = tmp_path / "known.vot"
    for encoding in ("utf-8", "utf-16"):
        path.write_bytes(f'<?xml version="1.0" encoding="{encoding}"?>{STREAM}'.encode(encoding))
        with pytest.raises(InputError, match=r"refers to data elsewhere \(file:///etc/hostname\)"):
            read_known(path)
    path.write_text(f'<!DOCTYPE VOTABLE [<!ENTITY a "aaaa">]>{STREAM}')
    with pytest.raises(InputError, match="declares XML entities"):
        read_known(path)
    path.write_text("<VOTABLE><oops>")
    with pytest.raises(InputError, match="cannot be read as VOTABLE"):
        read_known(path)


def test_damaged_fits_is_one_line(tmp_path: Path) -> None:
    KNOWN.write(tmp_path / "known.fits")
    data = (tmp_path / "known.fits").read_bytes()
    rng = np.random.default_rng(0)
    for cut in rng.integers(100, len(data) - 100, 5):
        (tmp_path / "cut.fits").write_bytes(data[:cut])
        with pytest.raises(InputError):
            read_known(tmp_path / "cut.fits")
