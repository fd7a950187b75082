"""Layers that keep the variance of what passes through them, shared by the generator, the encoders and the classifiers.

In: features [B, C, h, w] or vectors [B, C]. Out: the same, with unit variance where the input has it.

Source: Karras et al. 2024 (EDM2, arXiv 2312.02696, section 2). The weights of each output channel have unit mean square
and are divided by the root of their number, so no level of a network can drown another, gradients are exact enough in
bfloat16, and the length of a weight vector means nothing; it is set back to one in every training step.
"""

import math

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from galaxysd.settings import Settings

SILU_RMS = 0.596  # root mean square of silu(z), z ~ N(0, 1) (EDM2 eq. 81)
RES_BALANCE = 0.3  # share of the branch in a residual sum (EDM2 eq. 88)
STREAM_GAIN = (1 - RES_BALANCE) / math.hypot(1 - RES_BALANCE, RES_BALANCE)
BRANCH_GAIN = RES_BALANCE / math.hypot(1 - RES_BALANCE, RES_BALANCE)


def fast_precision(device: torch.device) -> torch.dtype:
    """bfloat16 where the device computes it in hardware, else float32 (without it, bfloat16 is 100 times slower)."""
    if device.type == "cpu":
        return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.float32


def normalise_channels(features: Tensor) -> Tensor:
    """[B, C, h, w]: zero mean and unit variance over the channels of each position."""
    rows = features.permute(0, 2, 3, 1)
    return functional.layer_norm(rows, rows.shape[-1:], eps=1e-4).permute(0, 3, 1, 2)


class MPConv(nn.Module):
    """A convolution (or, on vectors, a linear layer) that keeps the variance of its input.

    The weights are a matrix [C_out, k k C_in] with rows of unit mean square; so stored, matrix optimizers take them as
    they are, and they are the channels-last weights of a convolution.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int = 1, *, gain: float = 1.0) -> None:
        super().__init__()
        self.shape = (channels_out, kernel, kernel, channels_in)
        fan_in = kernel * kernel * channels_in
        self.scale = gain / math.sqrt(fan_in)
        self.weight = nn.Parameter(torch.randn(channels_out, fan_in))

    @torch.no_grad()
    def normalise(self) -> None:
        """Set the mean square of each row back to one (EDM2 eq. 47, forced weight normalisation)."""
        length = torch.linalg.vector_norm(self.weight, dim=1, keepdim=True) / math.sqrt(self.weight.shape[1])
        self.weight.div_(length.clamp(min=1e-6))

    def forward(self, features: Tensor) -> Tensor:
        """[B, C_in, h, w] -> [B, C_out, h, w], or [B, C_in] -> [B, C_out]."""
        weight = (self.weight * self.scale).to(features.dtype)
        if features.ndim == 2:
            return functional.linear(features, weight)
        kernel = self.shape[1]
        return functional.conv2d(features, weight.view(self.shape).permute(0, 3, 1, 2), padding=kernel // 2)


def normalise_weights(network: nn.Module) -> None:
    """Set all weight vectors back to unit length: in every training step, and once after averaging."""
    for layer in network.modules():
        if isinstance(layer, MPConv):
            layer.normalise()


class MPModulation(nn.Module):
    """1 + gain W c: what the condition multiplies each channel by; starts at one."""

    def __init__(self, embedding: int, channels: int) -> None:
        super().__init__()
        self.layer = MPConv(embedding, channels)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """[B, C, h, w], [B, E] -> [B, C, h, w]."""
        factor = (1 + self.gain * self.layer(condition)).to(features.dtype)
        modulated: Tensor = features * factor[:, :, None, None]
        return modulated


class ImageScale(Settings):
    """8-bit pixels <-> model units: pixel / 127.5 - 1, minus `mean`."""

    mean: float = Field(default=-0.5, ge=-1, le=1, description="mean of the training pixels in [-1, 1]")
    spread: float = Field(default=0.2, gt=0, description="d: mean over pixels of the deviation between galaxies")

    def encode(self, pixels: Tensor) -> Tensor:
        """uint8 [B, 3, S, S] -> float32 model units."""
        return pixels.float() / 127.5 - 1 - self.mean

    def unit(self, images: Tensor) -> Tensor:
        """Model units -> [0, 1], not clipped, so that gradients pass."""
        return (images + self.mean + 1) / 2

    def decode(self, images: Tensor) -> Tensor:
        """Model units -> uint8 [B, 3, S, S], rounded and clipped."""
        return ((images + self.mean + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
