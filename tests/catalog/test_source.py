"""Tables on disk: the same galaxies in every format, and one clear line for every kind of damage."""

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from astropy.table import Table
from polars.testing import assert_frame_equal

from galaxysd.catalog.catalog import Catalog
from galaxysd.catalog.readers import read_votes
from galaxysd.catalog.source import SourceTable, numbers_where_possible
from galaxysd.catalog.tree import DecisionTree, Question
from galaxysd.errors import InputError

TREE = DecisionTree(name="tiny", questions=(Question(key="kind", text="?", answers=("smooth", "disk")),))
COLUMNS = {
    "id": ["587739505552785605", "587739505552785606", "587739505552785607"],
    "ra": [0.5, 120.25, 359.875],
    "dec": [-10.5, 0.0, 89.0],
    "kind_smooth": [0.25, 0.0, 1.0],
    "kind_disk": [0.75, 0.0, 0.0],
    "kind_votes": [4, 0, 20],
    "petro_theta": [7.5, np.nan, 3.25],
    "name": ["NGC 1", "", "Moller"],
}


def read(path: Path) -> Catalog:
    return read_votes(path, tree=TREE, survey="sdss")


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "votes.csv"
    pl.DataFrame(COLUMNS).write_csv(path)
    return path


@pytest.fixture
def votable(tmp_path: Path) -> Path:
    path = tmp_path / "votes.vot"
    Table(COLUMNS).write(path, format="votable")
    return path


def test_every_format_gives_the_same_catalogue(tmp_path: Path, csv: Path, votable: Path) -> None:
    expected = read(csv)
    assert expected.frame["id"].to_list() == COLUMNS["id"]
    assert expected.frame["kind_smooth"].to_list() == [0.25, None, 1.0]
    assert expected.frame["source_petro_theta"].to_list() == [7.5, None, 3.25]
    assert expected.frame["source_name"].to_list() == ["NGC 1", None, "Moller"]

    packed = tmp_path / "votes.csv.gz"
    packed.write_bytes(gzip.compress(csv.read_bytes()))
    parquet = tmp_path / "votes.parquet"
    pl.DataFrame(COLUMNS).with_columns(name=pl.col("name").replace("", None)).write_parquet(parquet)
    fits = tmp_path / "votes.fits"
    Table(COLUMNS).write(fits)
    for path in (packed, parquet, votable, fits):
        assert_frame_equal(read(path).frame, expected.frame, check_dtypes=path != fits)


def test_integer_ids_keep_their_digits(tmp_path: Path) -> None:
    integers = {**COLUMNS, "id": np.array([int(text) for text in COLUMNS["id"]])}
    Table(integers).write(tmp_path / "votes.fits")
    pl.DataFrame(integers).write_parquet(tmp_path / "votes.parquet")
    for name in ("votes.fits", "votes.parquet"):
        assert read(tmp_path / name).frame["id"].to_list() == COLUMNS["id"]


def test_ids_that_went_through_a_float_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "votes.parquet"
    pl.DataFrame({**COLUMNS, "id": [float(text) for text in COLUMNS["id"]]}).write_parquet(path)
    with pytest.raises(InputError, match=r"lost its digits|not unique"):
        read(path)


def test_missing_integers_in_fits_are_null(tmp_path: Path) -> None:
    table = Table(COLUMNS, masked=True)
    table["kind_votes"].mask = [True, False, False]
    table.write(tmp_path / "votes.fits")
    assert read(tmp_path / "votes.fits").frame["kind_votes"].to_list() == [None, 0, 20]


def test_text_that_is_not_ascii(tmp_path: Path, csv: Path) -> None:
    csv.write_text(csv.read_text().replace("Moller", "Møller"))
    assert read(csv).frame["source_name"].to_list()[2] == "Møller"


def test_truncated_gzip(tmp_path: Path, csv: Path) -> None:
    noise = "\n".join(str(value) for value in np.random.default_rng(0).integers(0, 2**62, 5000))
    packed = gzip.compress(csv.read_bytes() + noise.encode())
    path = tmp_path / "votes.csv.gz"
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InputError, match=r"votes\.csv\.gz: cannot be read as CSV"):
        read(path)


@pytest.mark.parametrize("name", ["votes.csv", "votes.csv.gz", "votes.parquet", "votes.fits", "votes.vot"])
def test_garbage(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(np.random.default_rng(1).bytes(20_000))
    with pytest.raises(InputError) as caught:
        read(path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["votes.parquet", "votes.fits", "votes.vot"])
def test_half_a_file(tmp_path: Path, csv: Path, votable: Path, name: str) -> None:
    path = tmp_path / name
    if name == "votes.parquet":
        pl.read_csv(csv, schema_overrides={"id": pl.String}).write_parquet(path)
    elif name == "votes.fits":
        Table({column: values * 2000 for column, values in COLUMNS.items() if column != "name"}).write(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=name):
        read(path)


@pytest.mark.parametrize("name", ["votes.csv", "votes.fits", "votes.parquet", "votes.vot"])
def test_empty_and_missing_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / name)
    (tmp_path / name).touch()
    with pytest.raises(InputError, match="is empty"):
        read(tmp_path / name)


def test_a_header_without_rows(tmp_path: Path) -> None:
    (tmp_path / "votes.csv").write_text("id,kind_smooth,kind_disk\n")
    with pytest.raises(InputError, match="no galaxies"):
        read(tmp_path / "votes.csv")


def test_words_where_numbers_belong(tmp_path: Path) -> None:
    (tmp_path / "votes.csv").write_text("id,kind_smooth,kind_disk\na,0.5,0.5\nb,many,0.5\n")
    with pytest.raises(InputError, match=r"votes\.csv.*many.*kind_smooth"):
        read(tmp_path / "votes.csv")


def test_unknown_endings_name_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"votes\.xlsx.*\.csv\.gz.*\.fits"):
        SourceTable(tmp_path / "votes.xlsx")


def test_only_columns_of_numbers_become_numbers() -> None:
    text = pl.DataFrame({"whole": ["1", None], "real": ["1.5", "2"], "word": ["1", "one"]})
    numbers = numbers_where_possible(text, ["whole", "real", "word"])
    assert numbers.dtypes == [pl.Int64, pl.Float64, pl.String]


def test_a_votable_that_points_elsewhere_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(16))
    path = tmp_path / "list.vot"
    table = '<FIELD name="ra" datatype="double"/><DATA><BINARY><STREAM href="{}"/></BINARY></DATA>'
    path.write_text(
        f'<VOTABLE version="1.4"><RESOURCE><TABLE>{table.format(secret.as_uri())}</TABLE></RESOURCE></VOTABLE>'
    )
    with pytest.raises(InputError, match="refers to data elsewhere"):
        SourceTable(path)
    path.write_text('<!DOCTYPE VOTABLE [<!ENTITY a "aaaa">]><VOTABLE version="1.4"><RESOURCE/></VOTABLE>')
    with pytest.raises(InputError, match="declares XML entities"):
        SourceTable(path)
