"""Encoder folders: the same encoder again, and refused when something is wrong with them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from galaxysd.encoders.checkpoint import CONFIG, RECORD, WEIGHTS, read_encoder, save_encoder
from galaxysd.encoders.galaxyemb import EncoderNetwork, EncoderSettings
from galaxysd.errors import InputError
from galaxysd.io import sha256_of
from galaxysd.nn import ImageScale

CPU = torch.device("cpu")
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3)).astype(np.uint8)


def save(folder: Path, seed: int = 0) -> EncoderNetwork:
    torch.manual_seed(seed)
    network = EncoderNetwork(EncoderSettings(patch=4, widths=(16, 16), blocks=1), ImageScale(mean=-0.7, spread=0.1))
    save_encoder(folder, network, name="tiny", size=16, training={})
    return network


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path / "encoder")
    return tmp_path / "encoder"


def resign(folder: Path, name: str) -> None:
    """Write the present checksum of a file into the record."""
    record = json.loads((folder / RECORD).read_text())
    record["sha256"][name] = sha256_of(folder / name)
    (folder / RECORD).write_text(json.dumps(record))


def test_read_again_it_is_the_same_wherever_it_lies(folder: Path, tmp_path: Path) -> None:
    first = read_encoder(folder, "tiny", CPU)
    shutil.copytree(folder, tmp_path / "copy")
    second = read_encoder(tmp_path / "copy", "other name", CPU)
    assert first.hash == second.hash and (first.name, second.name) == ("tiny", "other name")
    assert np.array_equal(first.features(IMAGES), second.features(IMAGES))
    assert first.network.scale == ImageScale(mean=-0.7, spread=0.1)
    save(tmp_path / "third", seed=1)
    assert read_encoder(tmp_path / "third", "tiny", CPU).hash != first.hash
    assert (folder / WEIGHTS).stat().st_size < 3 * sum(w.numel() for w in first.network.parameters())  # fp16


def test_an_earlier_encoder_is_replaced_and_anything_else_is_kept(folder: Path, tmp_path: Path) -> None:
    before = read_encoder(folder, "tiny", CPU).hash
    save(folder, seed=1)
    assert read_encoder(folder, "tiny", CPU).hash != before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    with pytest.raises(InputError, match="not an encoder folder"):
        save(tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "precious"


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG, RECORD])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        read_encoder(folder, "tiny", CPU)


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG])
def test_a_changed_file_is_named(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[-2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: does not match the checksum"):
        read_encoder(folder, "tiny", CPU)


def test_truncated_weights_with_the_right_checksum_are_named(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-8])
    resign(folder, WEIGHTS)
    with pytest.raises(InputError, match="cannot be read"):
        read_encoder(folder, "tiny", CPU)


def test_weights_of_another_network_are_named(folder: Path) -> None:
    config = json.loads((folder / CONFIG).read_text())
    config["network"]["widths"] = [16, 32]
    (folder / CONFIG).write_text(json.dumps(config))
    resign(folder, CONFIG)
    with pytest.raises(InputError, match=f"{WEIGHTS}: cannot be read"):
        read_encoder(folder, "tiny", CPU)


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        (CONFIG, "preprocessing", "galaxyemb-99", "preprocessing 'galaxyemb-99' is not that of this version"),
        (CONFIG, "size", 0, "size: Input should be greater than or equal to 1"),
        (RECORD, "format", 99, "format 99 is not the one this version reads"),
        (RECORD, "colour", "red", "colour: Extra inputs are not permitted"),
    ],
)
def test_values_of_another_version_are_named(folder: Path, name: str, key: str, value: object, message: str) -> None:
    content = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps({**content, key: value}))
    if name == CONFIG:
        resign(folder, CONFIG)
    with pytest.raises(InputError, match=message):
        read_encoder(folder, "tiny", CPU)


def test_a_record_that_is_no_json_is_named(folder: Path) -> None:
    for content, message in (("{", "cannot be read"), ("[]", "expected a JSON object")):
        (folder / RECORD).write_text(content)
        with pytest.raises(InputError, match=message):
            read_encoder(folder, "tiny", CPU)


def test_a_pickle_is_never_read(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(InputError, match=r"pytorch_model\.bin may hold a pickle"):
        read_encoder(folder, "tiny", CPU)


def test_nothing_half_written_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **keywords: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(InputError, match="No space left"):
        save(tmp_path / "full")
    assert list(tmp_path.iterdir()) == []
