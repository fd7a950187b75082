"""From a toy survey to an encoder folder: the end-to-end path, exact resume, and what the recipe refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from galaxysd.data.dataset import Dataset
from galaxysd.encoders.checkpoint import RECORD, WEIGHTS
from galaxysd.encoders.registry import load_encoder
from galaxysd.encoders.train import EncoderRecipe, train_encoder
from galaxysd.errors import InputError

SMALL = (
    "network.widths=[16, 16]",
    "network.blocks=1",
    "simclr.projection=16",
    "fit.batch=8",
    "fit.log_every=16",
    "fit.snapshot_every=32",
)


def small(*more: str) -> EncoderRecipe:
    return EncoderRecipe.load("encoder", (*SMALL, *more))


def test_train_embed_and_resume(toy: Path, tmp_path: Path) -> None:
    data = toy / "dataset"
    whole = train_encoder([data], tmp_path / "whole", recipe=small(), images=64)
    assert whole["done"] and whole["images_seen"] == 64
    record = json.loads((tmp_path / "whole" / "model" / RECORD).read_text())
    assert record["training"]["data"]["galaxies"] == len(Dataset.open(data).ids("train"))
    assert set(record["training"]["held_out"]) == {"loss", "alignment", "uniformity"}
    card = (tmp_path / "whole" / "model" / "README.md").read_text()
    assert "Withheld on purpose: 0 galaxies." in card and "64 images" in card and "Held-out uniformity: -" in card
    encoder = load_encoder(whole["model"])
    _, train = next(Dataset.open(data).pixels("train"))
    features = encoder.features(train)
    assert float(np.square(features).mean()) == pytest.approx(1, rel=0.05)
    assert np.abs(features.mean(axis=0)).max() < 0.05

    part = train_encoder([data], tmp_path / "parts", recipe=small(), images=64, minutes=1e-9)
    assert part["images_seen"] == 0 and part["done"]  # by the clock
    assert train_encoder([data], tmp_path / "parts", recipe=small(), images=64)["done"]
    first = load_file(tmp_path / "whole" / "model" / WEIGHTS)
    second = load_file(tmp_path / "parts" / "model" / WEIGHTS)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert load_encoder(tmp_path / "parts" / "model").hash == encoder.hash

    assert train_encoder([data], tmp_path / "whole", recipe=small(), images=64)["already_done"]
    assert train_encoder([data], tmp_path / "whole", recipe=small(), images=72)["images_seen"] == 72


def test_withheld_galaxies_are_counted_on_the_card(toy: Path, tmp_path: Path) -> None:
    rule = "t01_smooth_or_features_a01_smooth > 0.5"
    train_encoder([toy / "dataset"], tmp_path / "run", recipe=small(f"data.withhold=['{rule}']"), images=8)
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert f"galaxies, those that meet `{rule}`." in card and "on purpose: 0" not in card


def test_another_recipe_in_the_same_folder_is_refused(toy: Path, tmp_path: Path) -> None:
    train_encoder([toy / "dataset"], tmp_path / "run", recipe=small(), images=8)
    with pytest.raises(InputError, match="other settings"):
        train_encoder([toy / "dataset"], tmp_path / "run", recipe=small("simclr.temperature=0.5"), images=8)


def test_images_that_do_not_fold_are_refused_before_anything_is_written(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="images of 16 px; this encoder needs a multiple of 32"):
        train_encoder([toy / "dataset"], tmp_path / "run", recipe=small("network.patch=16"), images=8)
    assert not (tmp_path / "run").exists()


def test_recipe_overrides_are_checked() -> None:
    assert EncoderRecipe.load("encoder", ["simclr.views.blur=0.5"]).simclr.views.blur == 0.5
    assert EncoderRecipe.load("encoder").data.withhold == ()
    with pytest.raises(InputError, match=r"'simclr\.heat=1': expected key=value with a key of the recipe"):
        EncoderRecipe.load("encoder", ["simclr.heat=1"])
    with pytest.raises(InputError, match="temperature"):
        EncoderRecipe.load("encoder", ["simclr.temperature=0"])
    with pytest.raises(InputError, match="not valid YAML"):
        EncoderRecipe.load("encoder", ["fit.seed=[1"])
    with pytest.raises(InputError, match=r"neither a built-in recipe \(encoder\) nor a YAML file"):
        EncoderRecipe.load("decoder")
