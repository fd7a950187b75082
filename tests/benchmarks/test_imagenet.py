"""EfficientNet-Lite0 as a model of transformers: every weight finds its place, gates let everything through."""

import re
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from galaxysd.errors import InputError

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))  # scripts, not a package

import imagenet
from transformers import EfficientNetConfig, EfficientNetModel


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """Random weights of the right shapes under the names of the original package."""
    torch.manual_seed(0)
    shape = EfficientNetConfig(width_coefficient=1.0, depth_coefficient=1.0, hidden_dim=1280, hidden_act="relu6")
    places = {place: name for name, place in {**imagenet.STEM, **imagenet.TOP}.items()}
    inside = {place: name for name, place in imagenet.BLOCK.items()}
    found = {"_fc.weight": torch.zeros(1000, 1280)}
    for name, values in EfficientNetModel(shape).state_dict().items():
        layer, _, kind = name.rpartition(".")
        if block := re.fullmatch(r"encoder\.blocks\.(\d+)\.(.*)", layer):
            if "squeeze_excite" not in layer:
                found[f"_blocks.{block[1]}.{inside[block[2]]}.{kind}"] = values
        else:
            found[f"{places[layer]}.{kind}"] = values
    return found


def test_the_gates_are_open_and_the_weights_in_place(weights: dict[str, Tensor]) -> None:
    network = imagenet.convert(weights)
    assert torch.equal(network.embeddings.convolution.weight, weights["_conv_stem.weight"])
    assert torch.equal(network.encoder.blocks[3].depthwise_conv.depthwise_norm.bias, weights["_blocks.3._bn1.bias"])
    features = torch.randn(2, 144, 5, 5)
    assert torch.equal(network.encoder.blocks[2].squeeze_excite(features), features)


def test_weights_of_another_network_are_refused(weights: dict[str, Tensor]) -> None:
    with pytest.raises(InputError, match=r"not the weights of EfficientNet-Lite0: encoder\.top_conv\.weight"):
        imagenet.convert({name: values for name, values in weights.items() if name != "_conv_head.weight"})
