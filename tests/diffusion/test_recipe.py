"""From a toy survey to a model folder: the end-to-end path, resume, and what the recipe refuses."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_model import SMALL_RECIPE

from galaxysd.catalog import DecisionTree, read_votes
from galaxysd.data.build import build_dataset
from galaxysd.data.dataset import Dataset
from galaxysd.data.framing import Framing
from galaxysd.data.sources import ImageSource
from galaxysd.data.toy_survey import make_toy_survey
from galaxysd.diffusion.data import DataSettings, GalaxyPool
from galaxysd.diffusion.folder import WEIGHTS
from galaxysd.diffusion.pipeline import GalaxyPipeline
from galaxysd.diffusion.recipe import Recipe, train
from galaxysd.errors import InputError


def small(*more: str) -> Recipe:
    return Recipe.load("mini", (*SMALL_RECIPE, *more))


def test_train_generate_and_resume(toy: Path, tmp_path: Path) -> None:
    whole = train([toy], tmp_path / "whole", recipe=small(), images=96)
    assert whole["done"] and whole["images_seen"] == 96
    assert (tmp_path / "whole" / "samples-000000000096.png").is_file()
    card = (tmp_path / "whole" / "model" / "README.md").read_text()
    assert "Stretch 1: 96 images" in card and "t03_bar_a06_bar" in card
    pipeline = GalaxyPipeline.from_pretrained(tmp_path / "whole" / "model")
    galaxies = pipeline("toy, spiral galaxy, {bar:1.5}", n=2, steps=3)
    assert galaxies.images.shape == (2, 16, 16, 3)

    part = train([toy], tmp_path / "parts", recipe=small(), images=96, minutes=1e-9)
    assert part["images_seen"] == 0 and not part["done"]
    assert train([toy], tmp_path / "parts", recipe=small(), images=96)["done"]
    first = load_file(tmp_path / "whole" / "model" / WEIGHTS)
    second = load_file(tmp_path / "parts" / "model" / WEIGHTS)
    assert all(torch.equal(first[name], second[name]) for name in first)

    again = train([toy], tmp_path / "whole", recipe=small(), images=96)
    assert again["already_done"]
    tuned = train([toy], tmp_path / "tuned", recipe=small(), images=8, start=tmp_path / "whole" / "model")
    assert "Stretch 2: 8 images" in (Path(tuned["model"]) / "README.md").read_text()
    with pytest.raises(InputError, match="another network, tree or surveys"):
        train([toy], tmp_path / "no", recipe=small("network.patch=2"), images=8, start=tmp_path / "whole" / "model")
    helped = train([toy], tmp_path / "helped", recipe=small(), images=8, guide=tmp_path / "whole" / "model")
    assert torch.equal(
        load_file(Path(helped["model"]) / "guide" / Path(WEIGHTS).name)["inlet.weight"], first["inlet.weight"]
    )
    onward = train([toy], tmp_path / "onward", recipe=small(), images=8, start=Path(helped["model"]))
    assert GalaxyPipeline.from_pretrained(onward["model"]).guide is not None  # fine-tuning keeps the guide
    longer = train([toy], tmp_path / "whole", recipe=small(), images=104)
    assert longer["images_seen"] == 104


def test_a_refiner_learns_alone_and_stays(toy: Path, tmp_path: Path) -> None:
    plain = Path(train([toy], tmp_path / "plain", recipe=small(), images=64)["model"])
    shape = "network.refiner={patch: 2, width: 16, blocks: 1, below: 0.6}"
    alone = small("refiner_alone=true", shape)
    whole = Path(train([toy], tmp_path / "whole", recipe=alone, images=96, start=plain)["model"])
    before, after = load_file(plain / WEIGHTS), load_file(whole / WEIGHTS)
    assert all(torch.equal(before[name], after[name]) for name in before)
    added = {name: value for name, value in after.items() if name not in before}
    assert float(added["refiner.gain"]) != 0 and all(name.startswith("refiner.") for name in added)
    assert "96 images in 0.0 hours, of the refiner alone (16 channels" in (whole / "README.md").read_text()

    assert not train([toy], tmp_path / "parts", recipe=alone, images=96, start=plain, minutes=1e-9)["done"]
    parts = Path(train([toy], tmp_path / "parts", recipe=alone, images=96, start=plain)["model"])
    resumed = load_file(parts / WEIGHTS)
    assert all(torch.equal(after[name], resumed[name]) for name in after)

    onward = Path(train([toy], tmp_path / "onward", recipe=small(), images=64, start=whole)["model"])
    tuned = load_file(onward / WEIGHTS)
    assert tuned.keys() == after.keys() and not torch.equal(
        tuned["refiner.outlet.weight"], after["refiner.outlet.weight"]
    )
    with pytest.raises(InputError, match=r"needs network\.refiner and a model \(--from\)"):
        train([toy], tmp_path / "nothing", recipe=alone, images=8)
    with pytest.raises(InputError, match=r"needs network\.refiner and a model"):
        train([toy], tmp_path / "shapeless", recipe=small("refiner_alone=true"), images=8, start=plain)
    other = small("network.refiner={patch: 2, width: 32, blocks: 1, below: 0.6}")
    with pytest.raises(InputError, match="another network"):
        train([toy], tmp_path / "other", recipe=other, images=8, start=whole)


def test_another_recipe_in_the_same_folder_is_refused(toy: Path, tmp_path: Path) -> None:
    train([toy], tmp_path / "run", recipe=small(), images=8)
    with pytest.raises(InputError, match="other settings"):
        train([toy], tmp_path / "run", recipe=small("fit.seed=1"), images=8)


def test_recipe_overrides_are_checked(toy: Path, tmp_path: Path) -> None:
    assert Recipe.load("mini", ["fit.batch=16"]).fit.batch == 16
    with pytest.raises(InputError, match=r"'fit\.bacth=16': expected key=value with a key of the recipe"):
        Recipe.load("mini", ["fit.bacth=16"])
    with pytest.raises(InputError, match="multiple of 64 channels, not 96"):
        train([toy], tmp_path / "odd", recipe=small("network.widths=[64, 96]"), images=8)
    with pytest.raises(InputError, match="batch"):
        Recipe.load("mini", ["fit.batch=many"])
    with pytest.raises(
        InputError, match=r"neither a built-in recipe \(mini, mini-perceptual, mini-refiner\) nor a YAML file"
    ):
        Recipe.load("maxi")


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
