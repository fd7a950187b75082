"""Encoders by name."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from galaxysd.encoders import registry
from galaxysd.encoders.checkpoint import save_encoder
from galaxysd.encoders.galaxyemb import EncoderNetwork, EncoderSettings
from galaxysd.encoders.registry import load_encoder
from galaxysd.errors import InputError
from galaxysd.nn import ImageScale


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    network = EncoderNetwork(EncoderSettings(patch=4, widths=(16, 16), blocks=1), ImageScale())
    save_encoder(tmp_path / "weights" / "galaxyemb", network, name="tiny", size=16, training={})
    return tmp_path / "weights" / "galaxyemb"


def test_a_folder_and_the_shipped_one(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = load_encoder(folder)
    assert mine.name == str(folder) and mine.dimension == 16
    monkeypatch.setattr(registry, "files", lambda package: tmp_path)
    shipped = load_encoder("galaxyemb", torch.device("cpu"))
    assert shipped.name == "galaxyemb" and shipped.hash == mine.hash


def test_without_shipped_weights_it_says_how_to_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "files", lambda package: tmp_path)
    with pytest.raises(InputError, match="no encoder is shipped with this version; train one with `galaxysd train"):
        load_encoder("galaxyemb")


def test_baselines_and_eight_orientations() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype(np.uint8)
    plain, mean = load_encoder("pixels"), load_encoder("pixels", orientations=8)
    assert mean.name == "pixels, 8 orientations" and mean.hash != plain.hash
    turned = np.ascontiguousarray(np.rot90(images, axes=(1, 2)))
    assert np.allclose(mean.features(turned), mean.features(images), atol=1e-6)
    assert not np.allclose(plain.features(turned), plain.features(images), atol=1e-2)
    assert load_encoder("untrained").dimension == 256


def test_an_unknown_name_lists_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'galaxyeye': neither a folder nor one of galaxyemb, transformers:NAME, zoo"):
        load_encoder("galaxyeye")
    with pytest.raises(InputError, match=r"not an encoder folder, galaxysd\.json is missing"):
        load_encoder(tmp_path)


def test_plug_ins_are_found_by_their_prefix_and_missed_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("zoobot", "transformers"):
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(InputError, match=f"^{library}:nobody/model: the .*pip install") as caught:
            load_encoder(f"{library}:nobody/model")
        assert "\n" not in str(caught.value)
