"""Every architecture takes pixels and gives logits; pretrained ones keep their weights and get a new head."""

from pathlib import Path

import pytest
import torch

from galaxysd.classifiers.network import ClassifierNetwork, ProbeNetwork, make_network
from galaxysd.encoders.checkpoint import save_encoder
from galaxysd.encoders.galaxyemb import EncoderNetwork, EncoderSettings
from galaxysd.errors import InputError
from galaxysd.nn import ImageScale

transformers = pytest.importorskip("transformers")
PIXELS = torch.randint(256, (5, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
SMALL = {"widths": (8, 16), "depths": (1, 1)}


def save_tiny_encoder(folder: Path) -> Path:
    torch.manual_seed(0)
    network = EncoderNetwork(EncoderSettings(widths=(8, 16), blocks=1), ImageScale())
    network.calibrate(PIXELS)
    save_encoder(folder, network, name="tiny", size=32, training={})
    return folder


@pytest.mark.parametrize("architecture", ["resnet", "convnextv2"])
def test_small_networks(architecture: str) -> None:
    settings = ClassifierNetwork.parse({"architecture": architecture, **SMALL}, "test")
    torch.manual_seed(0)
    network = make_network(settings, 4)
    logits = network(PIXELS)
    assert logits.shape == (5, 4) and logits.dtype == torch.float32
    logits.square().sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())
    assert all(value.is_floating_point() for value in network.state_dict().values())  # else no average of weights
    torch.manual_seed(0)
    assert torch.equal(make_network(settings, 4)(PIXELS), logits)


def test_the_default_has_a_size_for_one_core() -> None:
    parameters = sum(weight.numel() for weight in make_network(ClassifierNetwork(), 8).parameters())
    assert 5e5 < parameters < 1.5e6


def test_a_probe_learns_its_head_only(tmp_path: Path) -> None:
    settings = ClassifierNetwork(architecture="galaxyemb", encoder=str(save_tiny_encoder(tmp_path / "encoder")))
    network = make_network(settings, 3)
    assert isinstance(network, ProbeNetwork)
    network(PIXELS).square().sum().backward()
    assert network.head.weight.grad is not None
    assert all(weight.grad is None for weight in network.encoder.parameters())


def test_a_pretrained_model_keeps_its_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.ConvNextConfig(hidden_sizes=[8, 8], depths=[1, 1], num_stages=2, image_size=32, num_labels=7)
    model = transformers.ConvNextForImageClassification(config)
    model.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"size": {"shortest_edge": 48}, "image_mean": [0.1, 0.1, 0.1]}')
    network = make_network(ClassifierNetwork(architecture=f"transformers:{tmp_path}"), 3)
    assert network(PIXELS).shape == (5, 3)
    assert network.preparation.side == 48 and network.preparation.mean == (0.1, 0.1, 0.1)
    own = dict(model.named_parameters())
    for name, weight in network.backbone.named_parameters():
        assert torch.equal(weight, own[name]) == (not name.startswith("classifier"))


def test_bad_networks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="architecture: String should match pattern"):
        ClassifierNetwork.parse({"architecture": "vgg"}, "network")
    with pytest.raises(InputError, match="3 widths and 2 depths"):
        make_network(ClassifierNetwork(widths=(8, 8, 8), depths=(1, 1)), 2)
    with pytest.raises(InputError, match="cannot be read from this folder"):
        make_network(ClassifierNetwork(architecture=f"transformers:{tmp_path}"), 2)
    with pytest.raises(InputError, match="expected galaxyemb or the folder"):
        make_network(ClassifierNetwork(architecture="galaxyemb", encoder="pixels"), 2)


def test_a_name_that_cannot_be_had_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="is not a folder and cannot be had from the hub") as caught:
        make_network(ClassifierNetwork(architecture="transformers:nobody/has-this-model"), 2)
    assert "\n" not in str(caught.value)
