"""The denoiser D(x_s, s, condition): the network, its scaling, and the units of its images.

Samplers, losses and networks meet only here. Images go in and out as float32 [B, 3, S, S] in model units, which
`ImageScale` makes from 8-bit pixels and back.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from galaxysd.catalog.tree import DecisionTree
from galaxysd.diffusion import flow
from galaxysd.diffusion.condition import Condition, answers_of
from galaxysd.diffusion.network import GalaxyUNet, NetworkSettings
from galaxysd.settings import Settings


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


class GalaxyDenoiser(nn.Module):
    """A network that knows its tree, its survey tokens and its image scale."""

    answers_of: Tensor

    def __init__(
        self, network: NetworkSettings, scale: ImageScale, tree: DecisionTree, surveys: tuple[str, ...]
    ) -> None:
        super().__init__()
        self.unet = GalaxyUNet(network)
        self.scale, self.tree, self.surveys = scale, tree, surveys
        self.register_buffer("answers_of", answers_of(tree), persistent=False)

    def speaks_like(self, other: "GalaxyDenoiser") -> bool:
        """Whether both take the same conditions and draw in the same units."""
        return (
            self.tree.columns == other.tree.columns
            and self.surveys == other.surveys
            and self.scale == other.scale
            and self.unet.settings.size == other.unet.settings.size
        )

    def forward(self, noisy: Tensor, level: Tensor, condition: Condition) -> Tensor:
        """x_s [B, 3, S, S], s [B] -> the expected clean image [B, 3, S, S] (flow.py)."""
        asked = (level, condition.fractions, condition.known, condition.survey)
        c_in = flow.input_scale(level, self.scale.spread)
        scaled = c_in * noisy
        raw: Tensor = self.unet(scaled, *asked)
        refiner = self.unet.refiner
        if refiner is not None and bool((low := level <= refiner.shape.below).any()):
            # c_out of flow.py: there is less to correct where there is less noise
            reach = (level * low)[:, None, None, None] * c_in
            raw = raw + reach * refiner(scaled, raw, *asked)
        return self.scale.spread * raw
