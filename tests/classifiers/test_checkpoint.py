"""A classifier folder is enough to classify, and a damaged one is refused by name."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from galaxysd.classifiers.network import ClassifierNetwork
from galaxysd.classifiers.train import ClassifierSettings, GalaxyClassifier, train_classifier
from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.encoders.checkpoint import save_encoder
from galaxysd.encoders.galaxyemb import EncoderNetwork, EncoderSettings
from galaxysd.errors import InputError
from galaxysd.nn import ImageScale

transformers = pytest.importorskip("transformers")
NAMES = ("disc", "bar", "ring")


@pytest.fixture(scope="module")
def folder(
    shapes: Callable[..., GalaxySet], tiny: ClassifierSettings, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    run = tmp_path_factory.mktemp("run") / "run"
    settings = tiny.model_copy(update={"images": 64})
    train_classifier(shapes(40), shapes(10, seed=1), NAMES, run, settings)
    return run / "model"


def test_there_and_back(folder: Path, shapes: Callable[..., GalaxySet], tmp_path: Path) -> None:
    first = GalaxyClassifier.load(folder)
    second = GalaxyClassifier.load(first.save(tmp_path / "copy"))
    pixels = shapes(9, seed=4).images
    assert np.array_equal(first.probabilities(pixels), second.probabilities(pixels))
    assert first.hash == second.hash and first.save(tmp_path / "copy").is_dir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="not a classifier folder"):
        first.save(tmp_path / "mine")


@pytest.mark.parametrize("architecture", ["galaxyemb", "transformers"])
def test_surroundings_travel_with_the_classifier(
    architecture: str, shapes: Callable[..., GalaxySet], tiny: ClassifierSettings, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    torch.manual_seed(0)
    if architecture == "galaxyemb":
        save_encoder(
            source, EncoderNetwork(EncoderSettings(widths=(8,), blocks=1), ImageScale()), name="x", size=16, training={}
        )
        network = ClassifierNetwork(architecture="galaxyemb", encoder=str(source))
    else:
        config = transformers.ConvNextConfig(hidden_sizes=[8, 8], depths=[1, 1], num_stages=2, image_size=16)
        transformers.ConvNextForImageClassification(config).save_pretrained(source)
        network = ClassifierNetwork(architecture=f"transformers:{source}")
    settings = tiny.model_copy(update={"images": 64, "network": network})
    made = train_classifier(shapes(40), shapes(10, seed=1), NAMES, tmp_path / "run", settings)
    shutil.rmtree(source)
    read = GalaxyClassifier.load(tmp_path / "run" / "model")
    pixels = shapes(9, seed=4).images
    assert np.array_equal(made.probabilities(pixels), read.probabilities(pixels)) and made.hash == read.hash


def test_damage_is_named(folder: Path, tmp_path: Path) -> None:
    def damaged(name: str) -> Path:
        copy = tmp_path / name
        shutil.copytree(folder, copy)
        return copy

    one = damaged("one")
    (one / "classifier.safetensors").unlink()
    with pytest.raises(InputError, match=r"classifier\.safetensors is missing"):
        GalaxyClassifier.load(one)
    two = damaged("two")
    (two / "classifier.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(InputError, match="the file was changed"):
        GalaxyClassifier.load(two)
    three = damaged("three")
    (three / "weights.pkl").write_bytes(b"")
    with pytest.raises(InputError, match="may hold a pickle"):
        GalaxyClassifier.load(three)
    four = damaged("four")
    values = json.loads((four / "galaxysd.json").read_text())
    (four / "galaxysd.json").write_text(json.dumps({**values, "format": 99}))
    with pytest.raises(InputError, match="format 99"):
        GalaxyClassifier.load(four)
    with pytest.raises(InputError, match="no such folder"):
        GalaxyClassifier.load(tmp_path / "nowhere")
