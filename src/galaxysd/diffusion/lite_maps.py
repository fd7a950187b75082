"""Feature maps of EfficientNet-Lite0 in plain torch, for the perceptual term where transformers is absent.

In: `model.safetensors` of the folder that `benchmarks/imagenet.py` writes, and images [B, 3, S, S] in [0, 1]. Out: the
maps of the stem and of blocks 2, 4 and 10 (1/2, 1/4, 1/8, 1/16 of the side), differentiable in the images.

EfficientNet-Lite (Tan and Le 2019, arXiv 1905.11946, without squeeze-and-excitation, with ReLU6) is a chain of inverted
bottlenecks. Their normalisation is folded into the convolutions here, which nothing trains.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor
from torch.nn import functional

from galaxysd.errors import InputError
from galaxysd.io import sha256_of
from galaxysd.nn import fast_precision

STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1)  # of blocks 0 to 10
SHOWN = (2, 4, 10)  # blocks whose maps are given
EPSILON = 1e-3  # of the batch normalisation

Convolution = tuple[Tensor, Tensor]  # weight and bias


class LiteMaps:
    """The frozen network (protocol `FeatureMaps` of autoencoder_task.py).

    Attributes:
        hash: 16 hex digits over the weights.
    """

    def __init__(self, path: str | Path, device: torch.device) -> None:
        """Read the weights.

        Args:
            path: safetensors file with the names that the transformers library gives the weights.
            device: where to compute.

        Raises:
            InputError: the file cannot be read, or holds another network.
        """
        try:
            weights = load(Path(path).read_bytes())
        except (OSError, SafetensorError) as error:
            raise InputError(f"{path}: features cannot be read ({error})") from None
        self.hash = f"efficientnet-lite0-{sha256_of(path)[:16]}"
        self.precision = fast_precision(device)

        def folded(convolution: str, normalisation: str) -> Convolution:
            prefix = f"{normalisation}."
            scale = weights[prefix + "weight"] * (weights[prefix + "running_var"] + EPSILON).rsqrt()
            bias = weights[prefix + "bias"] - weights[prefix + "running_mean"] * scale
            kernel = (weights[f"{convolution}.weight"] * scale[:, None, None, None]).to(device, self.precision)
            return kernel.contiguous(memory_format=torch.channels_last), bias.to(device, self.precision)

        try:
            self._stem = folded("embeddings.convolution", "embeddings.batchnorm")
            self._blocks = []
            for index in range(len(STRIDES)):
                name = f"encoder.blocks.{index}"
                expansion = f"{name}.expansion.expand_"
                self._blocks.append(
                    (
                        folded(f"{expansion}conv", f"{expansion}bn") if f"{expansion}conv.weight" in weights else None,
                        folded(f"{name}.depthwise_conv.depthwise_conv", f"{name}.depthwise_conv.depthwise_norm"),
                        folded(f"{name}.projection.project_conv", f"{name}.projection.project_bn"),
                    )
                )
        except KeyError as error:
            raise InputError(
                f"{path}: not EfficientNet-Lite0 as benchmarks/imagenet.py writes it, {error.args[0]} is missing"
            ) from None

    def __call__(self, images: Tensor) -> list[Tensor]:
        """[B, 3, S, S] in [0, 1] -> [B, C_h, s_h, s_h] for each resolution, finest first."""
        prepared = (2 * images - 1).to(self.precision).contiguous(memory_format=torch.channels_last)
        features = functional.relu6(_convolve(prepared, self._stem, 2))
        shown = [features]
        for index, (expansion, depthwise, projection) in enumerate(self._blocks):
            hidden = features if expansion is None else functional.relu6(_convolve(features, expansion))
            hidden = functional.relu6(_convolve(hidden, depthwise, STRIDES[index], groups=hidden.shape[1]))
            projected = _convolve(hidden, projection)
            same = STRIDES[index] == 1 and projected.shape == features.shape
            features = features + projected if same else projected
            if index in SHOWN:
                shown.append(features)
        return shown


def _convolve(features: Tensor, convolution: Convolution, stride: int = 1, *, groups: int = 1) -> Tensor:
    """A convolution whose output has side ceil(S / stride), padded more at the end where that cannot be even."""
    weight, bias = convolution
    side, kernel = features.shape[-1], weight.shape[-1]
    padding = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    if padding % 2:
        before, after = padding // 2, padding - padding // 2
        features = functional.pad(features, (before, after, before, after))
        padding = 0
    return functional.conv2d(features, weight, bias, stride, padding // 2, groups=groups)
