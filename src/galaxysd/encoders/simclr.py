"""SimCLR (Chen et al. 2020, arXiv 2002.05709) as a task for training/fit.py.

In: batches of uint8 images. Two views of each galaxy (data/transforms.py) pass through the encoder and a small
projector; each must recognise its partner among all other views of the batch. The projector is thrown away afterwards:
features before it keep more of what the views change (section 4.2 of the paper). Out: trained weights, and per snapshot
the held-out loss with alignment and uniformity (Wang and Isola 2020, arXiv 2005.10242).
"""

import math
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from galaxysd.data.transforms import ViewSettings, random_views
from galaxysd.diffusion.data import GalaxyPool
from galaxysd.encoders.galaxyemb import EncoderNetwork
from galaxysd.nn import SILU_RMS, MPConv, normalise_weights
from galaxysd.settings import Settings
from galaxysd.training.ema import swapped
from galaxysd.training.fit import Batch

HELD_OUT = 256  # galaxies


class SimCLRSettings(Settings):
    """What the encoder is trained on."""

    temperature: float = Field(default=0.2, gt=0, description="tau of the loss")
    projection: int = Field(default=128, ge=2, description="length of the vectors that are compared")
    views: ViewSettings = ViewSettings()


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross-entropy (Chen et al. 2020, eq. 1), the mean over all 2B views.

    l(i, j) = -log( exp(s_ij / tau) / sum_{k != i} exp(s_ik / tau) ),  s the cosine, j the partner of i.

    Args:
        first, second: vectors of two views of the same galaxies [B, P], of any length.
        temperature: tau.
    """
    points = functional.normalize(torch.cat([first, second]).float(), dim=1)
    likeness = points @ points.T / temperature
    itself = torch.eye(len(points), dtype=torch.bool, device=points.device)
    partner = torch.arange(len(points), device=points.device).roll(len(first))
    return functional.cross_entropy(likeness.masked_fill(itself, -math.inf), partner)


def alignment(first: Tensor, second: Tensor) -> Tensor:
    """Mean squared distance of partners on the unit sphere (Wang and Isola 2020, alpha = 2): 0 is perfect, 2 luck."""
    apart = functional.normalize(first.float(), dim=1) - functional.normalize(second.float(), dim=1)
    return apart.square().sum(dim=1).mean()


def uniformity(points: Tensor) -> Tensor:
    """Logarithm of the mean of exp(-2 d^2) over all pairs on the unit sphere (Wang and Isola 2020, t = 2).

    0 if all points are the same; the lower, the more evenly the sphere is used, down to about -4.
    """
    distances = torch.pdist(functional.normalize(points.float(), dim=1))
    return (-2 * distances.square()).exp().mean().log()


class ContrastiveModel(nn.Module):
    """The encoder with its projector, which only training needs."""

    def __init__(self, encoder: EncoderNetwork, projection: int) -> None:
        super().__init__()
        width = encoder.settings.widths[-1]
        self.encoder = encoder
        self.hidden = MPConv(width, width)
        self.out = MPConv(width, projection, gain=1 / SILU_RMS)
        normalise_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """Floats [B, 3, S, S] in [0, 1] -> vectors to compare, float32 [B, P]."""
        if self.training:
            normalise_weights(self)
        features = self.encoder(images)
        hidden = self.hidden(functional.layer_norm(features, features.shape[-1:]))
        projected: Tensor = self.out(functional.silu(hidden))
        return projected


class SimCLRTask:
    """Train a `ContrastiveModel` (protocol `Task` of training/fit.py)."""

    def __init__(self, model: ContrastiveModel, settings: SimCLRSettings, held_out: GalaxyPool) -> None:
        self.model: nn.Module = model
        self.settings = settings
        indices = np.linspace(0, len(held_out) - 1, min(HELD_OUT, len(held_out))).astype(np.int64)
        images = held_out.images(indices)
        generator = torch.Generator().manual_seed(0)
        self.held_views = [random_views(images, settings.views, generator) for _ in range(2)]

    def prepare(self, batch: Batch, generator: torch.Generator, progress: float) -> Batch:
        """The batch as it is."""
        return batch

    def loss(
        self, model: nn.Module, batch: Batch, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        """The loss of a batch of `GalaxyPool.batch`. On several processes each compares its own galaxies only."""
        device = next(model.parameters()).device
        images = batch["images"].to(device)
        views = [random_views(images, self.settings.views, generator) for _ in range(2)]
        first, second = model(torch.cat(views)).chunk(2)
        return nt_xent(first, second, self.settings.temperature), {}

    @torch.no_grad()
    def snapshot(self, weights: dict[str, Tensor], folder: Path, images_seen: int) -> dict[str, float]:
        """Loss, alignment and uniformity of the averaged weights on held-out galaxies, always the same views."""
        device = next(self.model.parameters()).device
        with swapped(self.model, weights):
            normalise_weights(self.model)
            self.model.eval()
            first, second = (
                torch.cat([self.model(block.to(device)) for block in torch.split(views, 64)])
                for views in self.held_views
            )
        self.model.train()
        found = {
            "held_out": nt_xent(first, second, self.settings.temperature),
            "alignment": alignment(first, second),
            "uniformity": uniformity(first),
        }
        return {name: round(float(value), 5) for name, value in found.items()}
