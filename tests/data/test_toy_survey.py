"""The toy survey: its votes lead back to its truth, its pictures show it, and its files are read like real ones."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from galaxysd.catalog.catalog import Catalog
from galaxysd.catalog.readers import read_votes
from galaxysd.catalog.tree import DecisionTree
from galaxysd.data.build import build_dataset
from galaxysd.data.framing import Framing
from galaxysd.data.sources import ImageSource
from galaxysd.data.toy_survey import AXIS_RATIO, Galaxy, make_toy_survey, render
from galaxysd.errors import InputError
from galaxysd.types import Pixels


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy_survey(tmp_path_factory.mktemp("toy") / "survey", 120, seed=1)


@pytest.fixture(scope="module")
def votes(survey: Path) -> Catalog:
    return read_votes(survey / "votes.csv", tree=DecisionTree.load("gz2"), survey="toy")


def test_same_seed_same_survey(tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        make_toy_survey(tmp_path / name, 3, seed=seed)
    content = {name: [path.read_bytes() for path in sorted((tmp_path / name).rglob("*.*"))] for name in ("a", "b", "c")}
    assert len(content["a"]) == 5
    assert content["a"] == content["b"]
    assert all(one != two for one, two in zip(content["a"], content["c"], strict=True))


def test_votes_are_read_and_tell_the_truth(survey: Path, votes: Catalog) -> None:
    truth = pl.read_parquet(survey / "truth.parquet")
    assert votes.frame["id"].to_list() == truth["id"].to_list()
    smooth = votes.frame["t01_smooth_or_features_a01_smooth"] > 0.5
    assert (smooth == (truth["kind"] == "smooth")).mean() > 0.98  # type: ignore[operator]
    spirals = (truth["kind"] == "spiral").to_numpy()
    two_arms = (votes.frame["t11_arms_number_a32_2"].fill_null(0) > 0.5).to_numpy()
    assert spirals.sum() > 20
    assert (two_arms == (truth["arms"] == "a32_2").fill_null(False).to_numpy())[spirals].mean() > 0.95
    dust = (votes.frame["t08_odd_feature_a38_dust_lane"].fill_null(0) > 0.5).to_numpy()
    assert dust[(truth["odd"] == "a38_dust_lane").fill_null(False).to_numpy()].mean() > 0.9


def test_votes_walk_down_the_tree(votes: Catalog) -> None:
    table = votes.frame
    featured = table["t01_smooth_or_features_a02_features_or_disk"] * table["t01_smooth_or_features_votes"]
    assert (featured.fill_null(0) - table["t02_edgeon_votes"].fill_null(0)).abs().max() < 2  # weighted against counted
    assert table["t06_odd_votes"].mean() == pytest.approx(42, abs=2)
    for question in votes.tree.questions:
        total = votes.frame.select(pl.sum_horizontal(question.columns)).to_series()
        asked = table[question.votes].fill_null(0) > 0
        assert np.allclose(total.filter(asked), 1, atol=1e-3)


def test_dataset_from_the_toy_survey(survey: Path, votes: Catalog, tmp_path: Path) -> None:
    with ImageSource(survey / "images") as images:
        report = build_dataset(votes, images, out=tmp_path / "set", framing=Framing(size=32), survey="toy")
    assert report.info.galaxies == 120
    assert report.rejected.is_empty()
    assert report.info.splits["train"] > 80


def drawn(**truth: object) -> Pixels:
    values: dict[str, object] = {"kind": "smooth", "scale": 0.14, "angle": 0.0, "axis_ratio": 1.0, **truth}
    return render(Galaxy(**values), np.random.default_rng(0), 64)  # type: ignore[arg-type]


def moments(pixels: Pixels) -> tuple[float, float]:
    """Spread along x and y of what is clearly above the sky."""
    light = np.clip(pixels.astype(float).sum(axis=2) - 150, 0, None)
    y, x = np.mgrid[:64, :64] - 31.5
    return float(np.sqrt((light * x**2).sum() / light.sum())), float(np.sqrt((light * y**2).sum() / light.sum()))


def test_pictures_show_the_axis_ratio() -> None:
    ratios = []
    for roundness in ("a18_cigar_shaped", "a17_in_between", "a16_completely_round"):
        along, across = moments(drawn(axis_ratio=float(np.mean(AXIS_RATIO[roundness]))))
        ratios.append(across / along)
    assert ratios[0] < 0.45 < ratios[1] < 0.8 < 0.9 < ratios[2] < 1.1


def test_pictures_show_the_number_of_arms() -> None:
    angle = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    for arms, number in (("a31_1", 1), ("a32_2", 2), ("a33_3", 3), ("a34_4", 4)):
        image = drawn(kind="spiral", arms=arms, winding="a29_medium", bulge="a12_obvious").astype(float).sum(axis=2)
        radius = 16
        around = image[
            np.rint(31.5 + radius * np.sin(angle)).astype(int), np.rint(31.5 + radius * np.cos(angle)).astype(int)
        ]
        power = np.abs(np.fft.rfft(around - around.mean()))[1:8]
        assert power.argmax() + 1 == number


def test_pictures_show_dust_rings_and_colours() -> None:
    clean, dusty = drawn(axis_ratio=0.7), drawn(axis_ratio=0.7, odd="a38_dust_lane")
    lane = (slice(31, 34), slice(20, 44))
    assert dusty[lane].mean() < 0.6 * clean[lane].mean()
    red, _, blue = dusty[28:36, 24:40].reshape(-1, 3).mean(axis=0)
    assert red / blue > clean[28:36, 24:40, 0].mean() / clean[28:36, 24:40, 2].mean()
    ring = drawn(kind="disk", bulge="a11_just_noticeable", odd="a19_ring", scale=0.13).astype(float).sum(axis=2)
    on_ring, inside = ring[32, 32 + round(1.75 * 0.13 * 64)], ring[32, 32 + round(0.95 * 0.13 * 64)]
    assert on_ring > 1.5 * inside


def test_bad_requests(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="n = 0"):
        make_toy_survey(tmp_path / "none", 0, seed=0)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    with pytest.raises(InputError, match="exists with other content"):
        make_toy_survey(tmp_path / "full", 3, seed=0)
