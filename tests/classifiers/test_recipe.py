"""From a toy survey to a classifier folder and its report, for classes and for votes."""

import json
from pathlib import Path

import numpy as np
import pytest

from galaxysd.classifiers.predict import predict_table
from galaxysd.classifiers.recipe import ClassifierRecipe, train_recipe
from galaxysd.classifiers.train import ClassifierSettings, GalaxyClassifier
from galaxysd.classifiers.votes import VoteClassifier
from galaxysd.errors import InputError

SMALL = ("network.widths=[8, 16]", "network.depths=[1, 1]", "fit.batch=16", "fit.warmup=32", "fit.learning_rate=0.02")


def small(*more: str) -> ClassifierRecipe:
    return ClassifierRecipe.load("classifier", (*SMALL, *more))


def test_classes(toy: Path, tmp_path: Path) -> None:
    first = train_recipe([toy], tmp_path / "run", recipe=small(), images=160)
    assert first["done"] and first["images_seen"] == 160 and 0 <= first["test"]["F1"] <= 1
    classifier = GalaxyClassifier.load(first["model"])
    assert "barred spiral" in classifier.classes and classifier.record.training["rules"]["name"] == "gz2"
    scores = json.loads((tmp_path / "run" / "report.json").read_text())
    assert sum(scores["n"]) == first["test"]["galaxies"] and len(scores["confusion"]) == 8
    page = (tmp_path / "run" / "report.html").read_text()
    assert "barred spiral" in page and "Surest mistakes" in page and page.count("data:image/png") >= 3
    again = train_recipe([toy], tmp_path / "run", recipe=small(), images=160)
    assert again["already_done"] and again["test"] == first["test"]
    more = train_recipe([toy], tmp_path / "run", recipe=small(), images=320)
    assert more["images_seen"] == 320
    with pytest.raises(InputError, match="other settings"):
        train_recipe([toy], tmp_path / "run", recipe=small("loss=focal"), images=160)


def test_votes(toy: Path, tmp_path: Path) -> None:
    result = train_recipe([toy], tmp_path / "run", recipe=small("target=votes", "fit.snapshot_every=960"), images=1920)
    assert result["done"]
    classifier = VoteClassifier.load(result["model"])
    assert classifier.tree.name == "gz2"
    looks = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    held_out = [line["held_out"] for line in looks if "held_out" in line]
    assert len(held_out) == 2 and held_out[1] < held_out[0]
    first = result["test"]["t01_smooth_or_features"]
    assert first["error"] < first["constant"]
    again = train_recipe([toy], tmp_path / "run", recipe=small("target=votes", "fit.snapshot_every=960"), images=1920)
    assert again["already_done"]
    report = predict_table(toy, [result["model"]], tmp_path / "votes.parquet", limit=10)
    assert report.galaxies == 10


def test_minutes_end_a_training(toy: Path, tmp_path: Path) -> None:
    result = train_recipe([toy], tmp_path / "run", recipe=small(), images=10**6, minutes=0.005)
    assert result["done"] and result["images_seen"] < 10**6
    found = GalaxyClassifier.load(result["model"]).probabilities(np.zeros((1, 16, 16, 3), np.uint8))
    assert found.shape == (1, 8)


def test_the_recipe_is_the_settings_plus_a_target() -> None:
    recipe = ClassifierRecipe.load("classifier", ["loss=focal", "fit.seed=3"])
    assert recipe.loss == "focal" and recipe.fit.seed == 3 and isinstance(recipe, ClassifierSettings)
    with pytest.raises(InputError, match="expected key=value with a key of the recipe"):
        ClassifierRecipe.load("classifier", ["los=focal"])
    with pytest.raises(InputError, match="target"):
        ClassifierRecipe.load("classifier", ["target=both"])
