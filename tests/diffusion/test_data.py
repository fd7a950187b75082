"""Pools of training galaxies: what is withheld, believed, drawn, and labelled by eye."""

from pathlib import Path

import numpy as np
import pytest
import torch

from galaxysd.catalog import DecisionTree, read_votes
from galaxysd.data.build import build_dataset
from galaxysd.data.dataset import Dataset
from galaxysd.data.framing import Framing
from galaxysd.data.sources import ImageSource
from galaxysd.data.toy_survey import make_toy_survey
from galaxysd.diffusion.data import DataSettings, GalaxyPool
from galaxysd.errors import InputError


def test_pool_withholds_and_hides(toy: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(toy)
    everything = GalaxyPool([dataset], "train", DataSettings(), tmp_path / "a")
    rule = "t01_smooth_or_features_a01_smooth > 0.5"
    without = GalaxyPool([dataset], "train", DataSettings(withhold=(rule,)), tmp_path / "b")
    smooth = without.tree.columns.index("t01_smooth_or_features_a01_smooth")
    assert float(without.fractions[:, smooth].max()) <= 0.5
    assert 0 < len(without) < len(everything) and without.withheld
    assert set(everything.ids).isdisjoint(f"toy:{galaxy}" for galaxy in dataset.ids("test"))
    strict = GalaxyPool([dataset], "train", DataSettings(min_votes=10_000), tmp_path / "c")
    assert not strict.known.any() and not strict.fractions.any()


def test_pool_reads_the_right_pixels(toy: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(toy)
    pool = GalaxyPool([dataset], "train", DataSettings(), tmp_path)
    ids, images = next(dataset.pixels([pool.ids[5].removeprefix("toy:")]))
    assert ids == [pool.ids[5].removeprefix("toy:")]
    assert np.array_equal(pool.images(np.array([5]))[0].permute(1, 2, 0).numpy(), images[0])


def test_batches_follow_their_generator_and_favour_the_rare(toy: Path, tmp_path: Path) -> None:
    pool = GalaxyPool([Dataset.open(toy)], "train", DataSettings(rare_boost=4.0), tmp_path)
    one = pool.batch(16, torch.Generator().manual_seed(3))
    two = pool.batch(16, torch.Generator().manual_seed(3))
    assert all(torch.equal(one[name], two[name]) for name in one)
    counts = (pool.fractions > 0.5).sum(axis=0)
    drawn = (pool.batch(4000, torch.Generator().manual_seed(0))["fractions"].numpy() > 0.5).mean(axis=0)
    preferred = drawn / np.maximum(counts / len(pool), 1e-9)
    seen = np.flatnonzero(counts)
    assert preferred[seen[counts[seen].argmin()]] > 1.1 * preferred[counts.argmax()]


def test_an_answer_gets_its_share_of_the_draws(toy: Path, tmp_path: Path) -> None:
    lane = "t08_odd_feature_a38_dust_lane"
    shares = DataSettings(shares={lane: 0.6, "t01_smooth_or_features_a02_features_or_disk": 0.01})
    pool = GalaxyPool([Dataset.open(toy)], "train", shares, tmp_path)
    held = pool.fractions[:, pool.tree.columns.index(lane)] > 0.5
    assert 0 < held.mean() < 0.3
    drawn = pool.batch(4000, torch.Generator().manual_seed(0))["fractions"].numpy()
    assert (drawn[:, pool.tree.columns.index(lane)] > 0.5).mean() == pytest.approx(0.6, abs=0.03)
    # a share that is reached anyway changes nothing
    assert (drawn[:, pool.tree.columns.index("t01_smooth_or_features_a02_features_or_disk")] > 0.5).mean() > 0.3
    with pytest.raises(InputError, match="less than 1"):
        DataSettings.parse({"shares": {lane: 1}}, "data")
    with pytest.raises(InputError, match="have no answer 'dust'"):
        GalaxyPool([Dataset.open(toy)], "train", DataSettings(shares={"dust": 0.1}), tmp_path)


def test_images_of_different_sizes_are_refused(toy: Path, tmp_path: Path) -> None:
    make_toy_survey(tmp_path / "survey", n=30, seed=1, size=32)
    catalog = read_votes(tmp_path / "survey" / "votes.csv", tree=DecisionTree.load("gz2"), survey="toy2")
    other = build_dataset(
        catalog,
        ImageSource(tmp_path / "survey" / "images"),
        out=tmp_path / "dataset",
        framing=Framing(size=32),
        survey="toy2",
    )
    with pytest.raises(InputError, match=r"different sizes \(\[16, 32\]\)"):
        GalaxyPool([Dataset.open(toy), other.dataset], "train", DataSettings(), tmp_path / "pool")


def test_a_split_that_one_dataset_lacks_is_taken_from_the_others(toy: Path, tmp_path: Path) -> None:
    make_toy_survey(tmp_path / "survey", n=4, seed=1, size=32)
    catalog = read_votes(tmp_path / "survey" / "votes.csv", tree=DecisionTree.load("gz2"), survey="few")
    images = ImageSource(tmp_path / "survey" / "images")
    few = build_dataset(catalog, images, out=tmp_path / "few", framing=Framing(size=16), survey="few").dataset
    empty = {"train", "val", "test"} - set(few.catalog.frame["split"])
    assert empty
    split = sorted(empty)[0]
    with pytest.raises(InputError, match=f"the datasets hold no galaxy in split '{split}'"):
        GalaxyPool([few], split, DataSettings(), tmp_path / "none")
    both = GalaxyPool([few, Dataset.open(toy)], split, DataSettings(), tmp_path / "both")
    assert both.surveys == ("few", "toy") and set(both.survey) == {1}
    alone = GalaxyPool([Dataset.open(toy)], split, DataSettings(), tmp_path / "alone")
    rows = np.arange(len(alone))
    assert both.ids == alone.ids and torch.equal(both.images(rows), alone.images(rows))
