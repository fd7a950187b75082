"""Galaxy Zoo 2 vote tables: fractions, renormalising, ids, image names; three real sets."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxysd.catalog.catalog import Catalog
from galaxysd.catalog.readers import read_votes
from galaxysd.catalog.readers.galaxy_zoo import position_id
from galaxysd.catalog.tree import DecisionTree
from galaxysd.errors import InputError

TREE = DecisionTree.load("gz2")
SMOOTH, DISK, STAR = TREE.questions[0].columns
YES, NO = TREE.by_key["t02_edgeon"].columns


def votes(**columns: list[object]) -> pl.DataFrame:
    """Two galaxies with the first two questions in Hart's columns."""
    rows: dict[str, list[object]] = {"dr7objid": [588017603615817728, 588017603615817729]}
    for column, count, weighted, debiased in (
        (SMOOTH, [10, 40], [0.25, 1.0], [0.4, 0.9]),
        (DISK, [30, 0], [0.75, 0.0], [0.8, 0.0]),
        (STAR, [0, 0], [0.0, 0.0], [0.0, 0.1]),
        (YES, [6, 0], [0.2, 0.0], [0.1, 0.0]),
        (NO, [24, 0], [0.8, 0.0], [0.9, 0.0]),
    ):
        rows |= {f"{column}_count": count, f"{column}_weighted_fraction": weighted, f"{column}_debiased": debiased}
    return pl.DataFrame(rows | columns)


def read(folder: Path, table: pl.DataFrame, **options: object) -> Catalog:
    path = folder / "votes.csv"
    table.write_csv(path)
    return read_votes(path, tree=TREE, survey="sdss", **options)  # type: ignore[arg-type]


def test_weighted_fractions_and_votes(tmp_path: Path) -> None:
    frame = read(tmp_path, votes()).frame
    assert frame["id"].to_list() == ["588017603615817728", "588017603615817729"]
    assert frame[SMOOTH].to_list() == [0.25, 1.0]
    assert frame["t01_smooth_or_features_votes"].to_list() == [40, 40]
    assert frame["t02_edgeon_votes"].to_list() == [30, 0]
    assert frame[NO].to_list() == [pytest.approx(0.8), None], "nobody was asked: null, not 0"
    assert frame["t03_bar_a06_bar"].is_null().all(), "a question the table does not have"
    assert frame[f"source_{SMOOTH}_debiased"].to_list() == [pytest.approx(0.4), pytest.approx(0.9)]


def test_fractions_without_a_vote_are_not_believed(tmp_path: Path) -> None:
    table = votes(**{f"{YES}_weighted_fraction": [0.2, 0.5], f"{NO}_weighted_fraction": [0.8, 0.5]})
    assert read(tmp_path, table).frame[YES].to_list() == [pytest.approx(0.2), None]


def test_debiased_fractions_are_renormalised(tmp_path: Path) -> None:
    frame = read(tmp_path, votes(), fractions="debiased").frame
    assert frame[SMOOTH].to_list() == [pytest.approx(0.4 / 1.2), pytest.approx(0.9)]
    assert frame[f"source_{SMOOTH}_debiased"].to_list() == [pytest.approx(0.4), pytest.approx(0.9)]
    assert frame[f"source_{SMOOTH}_weighted_fraction"].to_list() == [0.25, 1.0]


def test_a_missing_debiased_value_makes_its_question_unknown(tmp_path: Path) -> None:
    table = votes(**{f"{DISK}_debiased": [None, 0.0]})
    assert read(tmp_path, table, fractions="debiased").frame[SMOOTH].to_list() == [None, pytest.approx(0.9)]


def test_a_table_without_counts_has_no_votes(tmp_path: Path) -> None:
    frame = read(tmp_path, votes().select(pl.exclude("^.*_count$"))).frame
    assert frame["t01_smooth_or_features_votes"].is_null().all()
    assert frame[NO].to_list() == [pytest.approx(0.8), None], "all answers 0: nobody was asked"


def test_part_of_a_question_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{NO}_weighted_fraction.*missing"):
        read(tmp_path, votes().drop(f"{NO}_weighted_fraction"))


def test_a_fraction_outside_is_named_even_where_it_would_be_divided_away(tmp_path: Path) -> None:
    table = votes(**{f"{DISK}_debiased": [8.0, 0.0]})
    for fractions in ("weighted", "debiased"):
        with pytest.raises(InputError, match=r"588017603615817728.*8\.0"):
            read(tmp_path, table, fractions=fractions)


def test_duplicate_ids(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"588017603615817728.*rows 0 and 1"):
        read(tmp_path, votes(dr7objid=[588017603615817728] * 2))


def test_without_ids_the_position_is_the_name(tmp_path: Path) -> None:
    table = votes(ra=[252.619339, 0.0], dec=[38.81945419, -0.001]).drop("dr7objid")
    assert read(tmp_path, table).frame["id"].to_list() == ["J165028.64+384910.0", "J000000.00-000003.6"]
    with pytest.raises(InputError, match="no galaxy ids"):
        read(tmp_path, table.drop("ra"))


@given(ra=st.floats(0, 359.999999), dec=st.floats(-90, 90))
def test_position_names_say_the_position(ra: float, dec: float) -> None:
    name = pl.DataFrame({"ra": [ra], "dec": [dec]}).select(position_id()).item()
    hours, minutes, seconds = int(name[1:3]), int(name[3:5]), float(name[5:10])
    degrees, arcmin, arcsec = int(name[11:13]), int(name[13:15]), float(name[15:])
    assert (hours + minutes / 60 + seconds / 3600) * 15 == pytest.approx(ra, abs=0.16 / 3600)
    there = (degrees + arcmin / 60 + arcsec / 3600) * (-1 if name[10] == "-" else 1)
    assert there == pytest.approx(dec, abs=0.11 / 3600)


def test_image_names_come_from_the_mapping(tmp_path: Path) -> None:
    mapping = tmp_path / "mapping.csv"
    mapping.write_text(
        "objid,sample,asset_id\n588017603615817728,extra,900\n588017603615817728,original,16126\n1,original,2\n"
    )
    table = votes(sample=["original", "original"])
    assert read(tmp_path, table, mapping=mapping).frame["file"].to_list() == ["16126.jpg", None]
    assert read(tmp_path, votes(), mapping=mapping).frame["file"].to_list() == ["900.jpg", None]


def test_a_mapping_that_does_not_fit(tmp_path: Path) -> None:
    mapping = tmp_path / "mapping.csv"
    mapping.write_text("objid,sample,asset_id\n1,original,2\n")
    with pytest.raises(InputError, match=r"mapping\.csv: none of its objid"):
        read(tmp_path, votes(), mapping=mapping)
    mapping.write_text("objid,sample\n1,original\n")
    with pytest.raises(InputError, match="'asset_id' missing"):
        read(tmp_path, votes(), mapping=mapping)


@pytest.mark.parametrize(
    ("name", "rows", "questions"), [("gz2_fixed_scale", 7556, 9), ("gz2_petrosian", 879, 11), ("gz2_stripe82", 339, 11)]
)
def test_real_sets(galaxy_data: Path, name: str, rows: int, questions: int) -> None:
    path = galaxy_data / name / "catalogue.csv.gz"
    weighted = read_votes(path, tree=TREE, survey="sdss")
    assert len(weighted) == rows
    assert weighted.frame["file"].null_count() == 0
    asked = [not weighted.frame[question.columns[0]].is_null().all() for question in TREE.questions]
    assert sum(asked) == questions
    assert np.isnan(weighted.votes()).all() == (name == "gz2_petrosian"), "this one set was published without counts"
    for fractions in ("weighted", "debiased"):
        catalog = read_votes(path, tree=TREE, survey="sdss", fractions=fractions)  # type: ignore[arg-type]
        for question in TREE.questions:
            total = catalog.frame.select(total=pl.sum_horizontal(question.columns)).filter(
                catalog.frame[question.columns[0]].is_not_null()
            )["total"]
            # published to three digits, so a sum of seven answers can be off by a few thousandths
            assert total.is_empty() or (total - 1).abs().max() < (0.006 if fractions == "weighted" else 1e-5)


def test_the_median_votes_of_the_data_description(galaxy_data: Path) -> None:
    catalog = read_votes(galaxy_data / "gz2_fixed_scale" / "catalogue.csv.gz", tree=TREE, survey="sdss")
    medians = dict(zip(TREE.by_key, np.median(catalog.votes(), axis=0), strict=True))
    assert {key[:3]: medians[key] for key in list(medians)[:9]} == {
        "t01": 42, "t02": 11, "t03": 5, "t04": 5, "t05": 5, "t06": 41, "t07": 29, "t08": 4, "t09": 1,
    }  # fmt: skip
