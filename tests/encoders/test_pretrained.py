"""Vision models of the transformers library, from folders with tiny random weights; nothing is downloaded."""

import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from galaxysd.encoders.pretrained import IMAGENET_MEAN, IMAGENET_STD, Preparation, TransformersEncoder, ZoobotEncoder
from galaxysd.encoders.registry import load_encoder
from galaxysd.errors import InputError

transformers = pytest.importorskip("transformers")
CPU = torch.device("cpu")
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 24, 24, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def convnext(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    config = transformers.ConvNextConfig(hidden_sizes=[8, 8, 12, 16], depths=[1, 1, 1, 1], image_size=32)
    folder = tmp_path_factory.mktemp("models") / "convnext"
    transformers.ConvNextModel(config).save_pretrained(folder)
    return folder


def save_dinov2(folder: Path) -> Path:
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14, mlp_ratio=2
    )
    transformers.Dinov2Model(config).save_pretrained(folder)
    return folder


def test_convnext_gives_the_librarys_pooled_output(convnext: Path) -> None:
    encoder = load_encoder(f"transformers:{convnext}")
    assert encoder.dimension == 16 and encoder.name == f"transformers:{convnext}"
    found = encoder.features(IMAGES)
    assert found.shape == (3, 16) and found.dtype == np.float32
    images = torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy()).float() / 255
    images = torch.nn.functional.interpolate(images, (32, 32), mode="bicubic", antialias=True).clamp(0, 1)
    images = (images - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(3, 1, 1)
    with torch.inference_mode():
        expected = transformers.AutoModel.from_pretrained(convnext)(pixel_values=images).pooler_output.numpy()
    assert np.allclose(found, expected, atol=0.05 * np.abs(expected).max())  # bfloat16 where that is fast
    assert np.allclose(encoder.features(IMAGES[2:]), found[2:], atol=1e-5)


def test_dinov2_gives_its_class_token(tmp_path: Path) -> None:
    encoder = TransformersEncoder(str(save_dinov2(tmp_path)), CPU)
    assert encoder.preparation.side == 28 and encoder.features(IMAGES).shape == (3, 16)


def test_the_hash_follows_weights_and_preparation_but_not_the_place(convnext: Path, tmp_path: Path) -> None:
    model = transformers.AutoModel.from_pretrained(convnext)
    model.save_pretrained(tmp_path / "copy")
    first = TransformersEncoder(str(convnext), CPU).hash
    assert TransformersEncoder(str(tmp_path / "copy"), CPU).hash == first
    (tmp_path / "copy" / "preprocessor_config.json").write_text(json.dumps({"size": {"shortest_edge": 64}}))
    prepared = TransformersEncoder(str(tmp_path / "copy"), CPU)
    assert prepared.hash != first and prepared.preparation.side == 64
    with torch.no_grad():
        next(model.parameters()).add_(0.1)
    model.save_pretrained(tmp_path / "other")
    assert TransformersEncoder(str(tmp_path / "other"), CPU).hash != first


@pytest.mark.parametrize(
    ("config", "processor", "side"),
    [
        ({}, {}, 224),
        ({"image_size": 518}, {}, 518),
        ({"image_size": [96, 96]}, {}, 96),
        ({"image_size": 518}, {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}}, 224),
        ({"image_size": 518}, {"size": {"height": 384, "width": 384}}, 384),
        ({"image_size": 518}, {"size": 300}, 300),
    ],
)
def test_the_side_is_told_in_many_ways(config: dict, processor: dict, side: int) -> None:
    assert Preparation.of(config, processor, "model").side == side


def test_means_and_deviations_are_those_of_the_model() -> None:
    prepared = Preparation.of({"image_size": 8}, {"image_mean": [0.5] * 3, "image_std": [0.25, 0.5, 1.0]}, "model")
    found = prepared.apply(torch.full((1, 3, 4, 4), 255, dtype=torch.uint8))
    assert found.shape == (1, 3, 8, 8)
    assert found[0, :, 0, 0].tolist() == pytest.approx([2.0, 1.0, 0.5])
    with pytest.raises(InputError, match="model: mean"):
        Preparation.of({}, {"image_mean": [0.5]}, "model")


def test_an_untrained_pooler_is_not_used(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=16,
        patch_size=8,
    )
    transformers.ViTModel(config).save_pretrained(tmp_path)
    with_pooler = TransformersEncoder(str(tmp_path), CPU)
    weights = load_file(tmp_path / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "pooler" not in name}
    assert len(kept) < len(weights)
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    torch.manual_seed(1)  # of the pooler that the library makes up
    first = TransformersEncoder(str(tmp_path), CPU).features(IMAGES)
    torch.manual_seed(2)
    assert np.array_equal(TransformersEncoder(str(tmp_path), CPU).features(IMAGES), first)
    assert not np.allclose(with_pooler.features(IMAGES), first, atol=1e-2)
    save_file({name: value for name, value in kept.items() if "layernorm" not in name}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="weights are missing"):
        TransformersEncoder(str(tmp_path), CPU)


def test_what_is_no_vision_model_is_refused(tmp_path: Path) -> None:
    config = transformers.BertConfig(
        vocab_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    transformers.BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="model type 'bert' takes more than images"):
        TransformersEncoder(str(tmp_path), CPU)


def test_pickled_weights_are_never_read(convnext: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((convnext / "config.json").read_text())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="cannot be read from this folder"):
        TransformersEncoder(str(tmp_path), CPU)


def test_a_name_that_cannot_be_had_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def unreachable(name: str, *, local_files_only: bool, **keywords: object) -> None:
        asked.append(local_files_only)
        raise OSError(f"cannot reach the hub for {name}\nmany more\nlines")

    monkeypatch.setattr(transformers.AutoModel, "from_pretrained", unreachable)
    with pytest.raises(InputError) as caught:
        TransformersEncoder("nobody/no-such-model", CPU)
    assert str(caught.value).startswith("transformers:nobody/no-such-model: is not a folder and cannot be had from")
    assert "\n" not in str(caught.value)
    assert asked == [True, False]  # what is there already first


def test_a_folder_never_asks_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def broken(name: str, *, local_files_only: bool, **keywords: object) -> None:
        asked.append(local_files_only)
        raise OSError("no config")

    monkeypatch.setattr(transformers.AutoModel, "from_pretrained", broken)
    with pytest.raises(InputError, match="cannot be read from this folder"):
        TransformersEncoder(str(tmp_path), CPU)
    assert asked == [True]


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match="pip install transformers"):
        TransformersEncoder("facebook/dinov2-small", CPU)


class TinyZoobot(torch.nn.Module):
    """What the package's class offers: an `encoder` of the weights that a name stands for."""

    def __init__(self, *, name: str, num_classes: int, prog_bar: bool) -> None:
        super().__init__()
        if not name.startswith("hf_hub:mwalmsley/"):
            raise RuntimeError(f"no model {name}\nmany\nlines")
        torch.manual_seed(len(name))
        self.encoder = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 4), torch.nn.AdaptiveAvgPool2d(1))
        self.encoder.register_forward_pre_hook(self.look)

    def look(self, module: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        SEEN.append(inputs[0])


SEEN: list[torch.Tensor] = []


@pytest.fixture
def zoobot(monkeypatch: pytest.MonkeyPatch) -> None:
    package = types.ModuleType("finetune")
    package.FinetuneableZoobotClassifier = TinyZoobot  # type: ignore[attr-defined]
    parts = ("zoobot", "zoobot.pytorch", "zoobot.pytorch.training", "zoobot.pytorch.training.finetune")
    for name in parts:
        monkeypatch.setitem(sys.modules, name, package)


def test_zoobot_sees_pixels_from_0_to_1_at_its_own_size(zoobot: None) -> None:
    encoder = ZoobotEncoder("mwalmsley/zoobot-encoder-tiny", CPU)
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype(np.uint8)
    found = encoder.features(images)
    assert encoder.name == "zoobot:mwalmsley/zoobot-encoder-tiny" and found.shape == (3, encoder.dimension) == (3, 5)
    assert SEEN[-1].shape[1:] == (3, 224, 224) and float(SEEN[-1].min()) >= 0 and float(SEEN[-1].max()) <= 1
    assert float(SEEN[-1].max()) > 0.9
    assert np.allclose(encoder.features(images[1:2]), found[1:2], atol=1e-6)
    again, other = (ZoobotEncoder(f"mwalmsley/zoobot-encoder-{name}", CPU) for name in ("tiny", "other"))
    assert encoder.hash == again.hash != other.hash


def test_a_zoobot_that_cannot_be_had_is_one_line(zoobot: None) -> None:
    with pytest.raises(InputError, match=r"^zoobot:nobody/x: cannot be had from the hub .*no model") as caught:
        ZoobotEncoder("nobody/x", CPU)
    assert "\n" not in str(caught.value)
