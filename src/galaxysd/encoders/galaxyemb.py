"""GalaxyEmb: images of galaxies to features in which alike galaxies are near each other.

In: uint8 images [N, S, S, 3], S a multiple of 16 (trained at 64). Out: float32 features [N, D]. `Encoder` is what the
rest of the code speaks to; GalaxyEmb, pretrained models (pretrained.py) and baselines (baselines.py) all are one.

The network is a residual convolutional net of magnitude-preserving layers (diffusion/network.py). It folds 4x4 pixels
into channels at once, since memory traffic at full resolution is what takes time on a CPU. It has no batch statistics:
in contrastive learning they would tell the views of a batch about each other (He et al. 2020, arXiv 1911.05722,
section 3.3), and features would depend on the company.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from galaxysd.errors import InputError
from galaxysd.nn import (
    BRANCH_GAIN,
    SILU_RMS,
    STREAM_GAIN,
    ImageScale,
    MPConv,
    fast_precision,
    normalise_channels,
    normalise_weights,
)
from galaxysd.settings import Settings
from galaxysd.types import Features, Pixels

BLOCK = 64  # images computed at once, always: features do not depend on how many are asked for
PREPROCESSING = "galaxyemb-1"  # part of an encoder's identity; changes when the same weights would see other numbers


class Encoder(Protocol):
    """Anything that turns images into features."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def hash(self) -> str:
        """16 hex digits: identity of weights and preprocessing; equal hashes mean equal features."""

    @property
    def dimension(self) -> int:
        """D, length of a feature vector."""

    def features(self, images: Pixels) -> Features:
        """uint8 [N, S, S, 3] -> float32 [N, D]; a row depends on its image only."""


class EncoderSettings(Settings):
    """Shape of the network."""

    patch: int = Field(default=4, ge=1, description="side of the square of pixels folded into channels")
    widths: tuple[int, ...] = Field(
        default=(128, 192, 256), min_length=1, description="channels at each level, each half as fine; the last is D"
    )
    blocks: int = Field(default=2, ge=1, description="residual pairs of 3x3 convolutions per level")

    @property
    def multiple(self) -> int:
        """Image sides must be multiples of this, px."""
        return self.patch << (len(self.widths) - 1)


class Level(nn.Module):
    """Fold pixels into channels, then residual pairs of convolutions."""

    def __init__(self, channels_in: int, channels_out: int, blocks: int, *, fold: int) -> None:
        super().__init__()
        self.fold = fold
        self.inlet = MPConv(fold * fold * channels_in + 1, channels_out)
        self.first = nn.ModuleList(MPConv(channels_out, channels_out, 3, gain=1 / SILU_RMS) for _ in range(blocks))
        self.second = nn.ModuleList(
            MPConv(channels_out, channels_out, 3, gain=BRANCH_GAIN / SILU_RMS) for _ in range(blocks)
        )

    def forward(self, features: Tensor) -> Tensor:
        """[B, C_in, h, w] -> [B, C_out, h / fold, w / fold]."""
        folded = functional.pixel_unshuffle(features, self.fold).contiguous(memory_format=torch.channels_last)
        # The constant channel keeps brightness visible where each position is brought to unit variance.
        stream: Tensor = self.inlet(torch.cat([folded, torch.ones_like(folded[:, :1])], dim=1))
        for first, second in zip(self.first, self.second, strict=True):
            stream = normalise_channels(stream)
            branch: Tensor = second(functional.silu(first(functional.silu(stream))))
            stream = torch.add(branch, stream, alpha=STREAM_GAIN)
        return stream


class EncoderNetwork(nn.Module):
    """Levels of convolutions, then the mean over the sky.

    Attributes:
        centre: [D], mean of the raw features of training galaxies.
        deviation: root mean square over dimensions of their deviation.
    """

    centre: Tensor
    deviation: Tensor

    def __init__(self, settings: EncoderSettings, scale: ImageScale) -> None:
        super().__init__()
        self.settings, self.scale = settings, scale
        levels, channels, fold = [], 3, settings.patch
        for width in settings.widths:
            levels.append(Level(channels, width, settings.blocks, fold=fold))
            channels, fold = width, 2
        self.levels = nn.Sequential(*levels)
        self.register_buffer("centre", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(()))
        normalise_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """Floats [B, 3, S, S] in [0, 1] -> raw features float32 [B, D]."""
        scaled = (2 * images - 1 - self.scale.mean) / self.scale.spread
        seen = normalise_channels(self.levels(scaled.to(fast_precision(images.device))))
        return functional.silu(seen).float().mean(dim=(2, 3))

    @torch.no_grad()
    def calibrate(self, images: Tensor) -> None:
        """Set `centre` and `deviation` from training galaxies, uint8 [N, 3, S, S]."""
        raw = torch.cat([self(block.to(self.centre.device).float() / 255) for block in torch.split(images, BLOCK)])
        self.centre.copy_(raw.mean(dim=0))
        self.deviation.copy_((raw - self.centre).square().mean().sqrt().clamp(min=1e-6))


def fingerprint(weights: Mapping[str, Tensor], meaning: str) -> str:
    """16 hex digits over named tensors and a text that says what is done with them."""
    total = hashlib.sha256(meaning.encode())
    for name in sorted(weights):
        value = weights[name].detach().float().cpu().contiguous()
        total.update(f"\0{name}{tuple(value.shape)}\0".encode())
        total.update(value.numpy().tobytes())
    return total.hexdigest()[:16]


class GalaxyEncoder:
    """A network as an `Encoder`.

    Features have zero mean over the training galaxies and unit mean square, so Euclidean distances and cosines between
    them mean something as they are.

    Args:
        network: the weights.
        name: what to call it.
        device: where to compute.
    """

    def __init__(self, network: EncoderNetwork, name: str, device: torch.device) -> None:
        self.network = network.to(device).eval()
        self.name, self.device = name, device
        self.dimension = network.settings.widths[-1]
        meaning = f"{PREPROCESSING} {network.settings.model_dump_json()} {network.scale.model_dump_json()}"
        self.hash = fingerprint(network.state_dict(), meaning)

    def features(self, images: Pixels) -> Features:
        """uint8 [N, S, S, 3] -> float32 [N, D].

        Raises:
            InputError: not such images, or S does not suit the network.
        """
        multiple = self.network.settings.multiple
        check_images(images)
        if images.shape[1] % multiple:
            raise InputError(f"encoder {self.name}: images of {images.shape[1]} px; expected a multiple of {multiple}")
        return in_blocks(self._compute, images, self.dimension)

    def _compute(self, pixels: Tensor) -> Tensor:
        raw: Tensor = self.network(pixels.to(self.device).float() / 255)
        return (raw - self.network.centre) / self.network.deviation


class EightOrientations:
    """An encoder averaged over the eight turns and flips of each image.

    Training makes features nearly the same for a galaxy and its turned copy; this makes them exactly so for quarter
    turns and flips, for eight times the work. Angles between remain approximate. It is another encoder, with a hash of
    its own: features with and without do not mix.

    Args:
        encoder: the one to average.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.name = f"{encoder.name}, 8 orientations"
        self.dimension = encoder.dimension
        self.hash = hashlib.sha256(f"8 orientations of {encoder.hash}".encode()).hexdigest()[:16]

    def features(self, images: Pixels) -> Features:
        """uint8 [N, S, S, 3] -> float32 [N, D]."""
        check_images(images)
        total = np.zeros((len(images), self.dimension), np.float64)
        for flipped in (images, images.transpose(0, 2, 1, 3)):
            for turns in range(4):
                total += self.encoder.features(np.ascontiguousarray(np.rot90(flipped, turns, axes=(1, 2))))
        return (total / 8).astype(np.float32)


def check_images(images: Pixels) -> None:
    """Refuse what is not uint8 [N, S, S, 3].

    Raises:
        InputError: another type or shape.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
        raise InputError(f"images: expected uint8 [N, S, S, 3], not {images.dtype} {list(images.shape)}")


@torch.inference_mode()
def in_blocks(compute: Callable[[Tensor], Tensor], images: Pixels, dimension: int) -> Features:
    """Features of uint8 images [N, S, S, 3] by a function of uint8 [BLOCK, 3, S, S]; the last block is filled up."""
    found = np.empty((len(images), dimension), np.float32)
    for start in range(0, len(images), BLOCK):
        part = images[start : start + BLOCK]
        block = np.zeros((BLOCK, 3, *images.shape[1:3]), np.uint8)
        block[: len(part)] = part.transpose(0, 3, 1, 2)
        found[start : start + len(part)] = compute(torch.from_numpy(block))[: len(part)].float().cpu().numpy()
    return found
