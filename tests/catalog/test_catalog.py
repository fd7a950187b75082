"""The contract of a `Catalog`: what it refuses, what it computes, and that Parquet changes nothing."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from galaxysd.catalog.catalog import Catalog, complete
from galaxysd.catalog.tree import DecisionTree, Question
from galaxysd.errors import InputError

TREE = DecisionTree(
    name="tiny",
    questions=(
        Question(key="kind", text="?", answers=("smooth", "disk")),
        Question(key="edge", text="?", answers=("yes", "no"), after=("kind_disk",)),
        Question(key="bar", text="?", answers=("yes", "no"), after=("edge_no",)),
    ),
)


def frame(**columns: list[object]) -> pl.DataFrame:
    """Two galaxies with all contract columns; `columns` replaces some."""
    rows: dict[str, list[object]] = {"id": ["a", "b"], "kind_smooth": [0.2, 1.0], "kind_disk": [0.8, 0.0]}
    return complete(pl.DataFrame(rows | columns), TREE)


def catalog(**columns: list[object]) -> Catalog:
    return Catalog(frame(**columns), TREE, "sdss")


def test_arrays_follow_the_tree_and_null_is_nan() -> None:
    made = catalog(kind_votes=[40, 20])
    assert made.fractions().shape == (2, 6)
    assert made.fractions().dtype == np.float32
    np.testing.assert_allclose(made.fractions()[0], [0.2, 0.8, np.nan, np.nan, np.nan, np.nan], rtol=1e-6)
    np.testing.assert_array_equal(made.votes(), [[40, np.nan, np.nan], [20, np.nan, np.nan]])


def test_reach_is_the_product_of_the_way() -> None:
    made = catalog(edge_yes=[0.25, None], edge_no=[0.75, None])
    np.testing.assert_allclose(made.reach(), [[1, 0.8, 0.6], [1, 0, 0]], rtol=1e-6)


def test_reach_is_unknown_where_the_way_is() -> None:
    np.testing.assert_allclose(catalog().reach(), [[1, 0.8, np.nan], [1, 0, 0]], rtol=1e-6)


def test_no_votes_means_nobody_was_asked() -> None:
    made = catalog(kind_votes=[0, 20])
    assert made.frame["kind_smooth"].to_list() == [None, 1.0]


def test_rounding_is_clipped() -> None:
    assert catalog(kind_smooth=[0.5, 1 + 5e-7]).frame["kind_smooth"].max() == 1.0


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"kind_smooth": [0.2, 1.2]}, ["kind_smooth", "row 1", "id b", "1.2"]),
        ({"kind_smooth": [-0.1, 0.2]}, ["kind_smooth", "row 0", "id a", "-0.1"]),
        ({"kind_disk": [0.8, float("nan")]}, ["kind_disk", "row 1", "nan"]),
        ({"kind_votes": [-1, 3]}, ["kind_votes", "row 0", "-1"]),
        ({"kind_votes": [1.0, float("inf")]}, ["kind_votes", "row 1", "inf"]),
        ({"id": ["a", "a"]}, ["'a'", "rows 0 and 1", "not unique"]),
        ({"id": ["a", None]}, ["row 1", "no id"]),
        ({"id": ["a", ""]}, ["row 1", "no id"]),
        ({"id": ["5.87739505552785e17", "b"]}, ["5.87739505552785e17", "lost its digits"]),
        ({"ra": [10.0, 361.0]}, ["'ra'", "row 1", "361"]),
        ({"dec": [float("nan"), 0.0]}, ["'dec'", "row 0", "nan"]),
        ({"split": ["train", "training"]}, ["split", "row 1", "training"]),
        ({"colour": [1, 2]}, ["'colour'", "source_"]),
        ({"kind_smooth": ["much", "little"]}, ["wrong type", "much"]),
    ],
)
def test_a_broken_contract_is_named(columns: dict[str, list[object]], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        catalog(**columns)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_missing_columns_are_named() -> None:
    with pytest.raises(InputError, match="'edge_no'"):
        Catalog(frame().drop("edge_no"), TREE, "sdss")


def test_no_rows() -> None:
    with pytest.raises(InputError, match="no galaxies"):
        Catalog(frame().clear(), TREE, "sdss")


def test_survey_is_one_word() -> None:
    with pytest.raises(InputError, match="SDSS"):
        Catalog(frame(), TREE, "SDSS frames")


fraction = st.none() | st.floats(0, 1, width=32)


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.text(min_size=1, alphabet=st.characters(codec="utf-8", exclude_characters=".")),
            fraction,
            fraction,
            st.none() | st.floats(0, 360),
        ),
        min_size=1,
        unique_by=lambda row: row[0],
    )
)
def test_a_galaxy_survives_the_round_trip(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[object, ...]]
) -> None:
    ids, smooth, disk, ra = (list(values) for values in zip(*rows, strict=True))
    path = tmp_path_factory.mktemp("catalog") / "catalog.parquet"
    types = {
        "id": pl.String,
        "kind_smooth": pl.Float32,
        "kind_disk": pl.Float32,
        "ra": pl.Float64,
        "source_note": pl.String,
    }
    table = pl.DataFrame(
        {"id": ids, "kind_smooth": smooth, "kind_disk": disk, "ra": ra, "source_note": ids}, schema_overrides=types
    )
    before = Catalog(complete(table, TREE), TREE, "sdss")
    before.write(path)
    after = Catalog.read(path)
    assert_frame_equal(after.frame, before.frame)
    assert (after.tree, after.survey) == (before.tree, before.survey)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_read_refuses_other_files(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.parquet"
    pl.DataFrame({"a": [1]}).write_parquet(foreign)
    with pytest.raises(InputError, match="not a GalaxySD catalogue"):
        Catalog.read(foreign)
    foreign.write_bytes(b"PAR1 garbage")
    with pytest.raises(InputError, match="Parquet"):
        Catalog.read(foreign)
    with pytest.raises(InputError, match="nowhere"):
        Catalog.read(tmp_path / "nowhere.parquet")


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        catalog().write(tmp_path / "no_such_folder" / "catalog.parquet")
    assert list(tmp_path.iterdir()) == []
