"""The autoencoder: images to latents of a quarter of the side, and back.

In: images [B, 3, S, S] in [-1, 1]. Out: latents [B, C, S/4, S/4] with zero mean and unit variance in each channel
over the training galaxies; the decoder brings back the mean image that the latents allow. What they cannot hold, the
grain of the sky above all, is drawn by `grain.py`.

No condition ever reaches it, so it cannot learn a mark of a class, and the variety of galaxies is left to the flow.
Source: latent diffusion (Rombach et al. 2022, arXiv 2112.10752), here without a sampled code: a little Gaussian noise
on the latents while training keeps them smooth.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from galaxysd.nn import fast_precision
from galaxysd.settings import Settings

FACTOR = 4  # image side / latent side


class AutoencoderSettings(Settings):
    """Shape of the autoencoder."""

    size: int = Field(default=64, ge=8, multiple_of=FACTOR, description="image side in pixels")
    channels: int = Field(default=4, ge=1, description="C, channels of the latents")
    widths: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = Field(
        default=(96, 192), description="channels at half and at a quarter of the side"
    )
    last: int = Field(default=32, ge=1, description="channels at full resolution")

    @property
    def latent_size(self) -> int:
        """Side of the latents."""
        return self.size // FACTOR


class ResidualBlock(nn.Module):
    """x + gain conv(silu(conv(silu(x)))), two 3x3 convolutions, no normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_out = nn.Conv2d(channels, channels, 3, padding=1)
        self.gain = nn.Parameter(torch.full((1, channels, 1, 1), 0.1))

    def forward(self, features: Tensor) -> Tensor:
        """[B, C, h, w] -> the same."""
        branch = self.conv_out(functional.silu(self.conv_in(functional.silu(features))))
        stream: Tensor = features + self.gain.to(features.dtype) * branch
        return stream


class Autoencoder(nn.Module):
    """Encoder, decoder, and the statistics that bring latents to unit variance.

    Attributes:
        mean: mean of each latent channel before scaling, [C].
        std: its standard deviation, [C].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, settings: AutoencoderSettings) -> None:
        super().__init__()
        self.settings = settings
        (half, quarter), last, channels = settings.widths, settings.last, settings.channels
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(12, half, 3, padding=1),
            ResidualBlock(half),
            ResidualBlock(half),
            nn.Conv2d(half, quarter, 3, stride=2, padding=1),
            ResidualBlock(quarter),
            ResidualBlock(quarter),
            nn.SiLU(),
            nn.Conv2d(quarter, channels, 1),
        )
        # Resize and convolve instead of a strided or shuffled layer, which would leave a grid in the image.
        self.decoder = nn.Sequential(
            nn.Conv2d(channels, quarter, 3, padding=1),
            ResidualBlock(quarter),
            ResidualBlock(quarter),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.Conv2d(quarter, half, 3, padding=1),
            ResidualBlock(half),
            ResidualBlock(half),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.Conv2d(half, last, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(last, 3, 3, padding=1),
        )
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def encode(self, images: Tensor) -> Tensor:
        """[B, 3, S, S] in [-1, 1] -> latents [B, C, S/4, S/4] float32."""
        raw = self._run(self.encoder, images)
        return (raw - self.mean[:, None, None]) / self.std[:, None, None]

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [B, C, S/4, S/4] -> images [B, 3, S, S] float32, about in [-1, 1], not clipped."""
        return self._run(self.decoder, latents * self.std[:, None, None] + self.mean[:, None, None])

    @staticmethod
    def _run(network: nn.Module, values: Tensor) -> Tensor:
        values = values.contiguous(memory_format=torch.channels_last)
        precision = fast_precision(values.device)
        with torch.autocast(values.device.type, dtype=precision, enabled=precision != torch.float32):
            result: Tensor = network(values)
        return result.float()


def to_unit(pixels: Tensor) -> Tensor:
    """uint8 pixels -> float32 in [-1, 1]."""
    return pixels.float() / 127.5 - 1


def to_pixels(images: Tensor) -> Tensor:
    """Images in [-1, 1] -> uint8 pixels, rounded and clipped."""
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
