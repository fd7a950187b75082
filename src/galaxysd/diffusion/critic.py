"""The critic of adversarial training: small heads on the feature maps of a frozen, pretrained vision network.

In: images [B, 3, S, S] in [0, 1]. Out: one logit per head, [B, H]; high means a real galaxy of that condition.

A network that has seen photographs knows edges, blobs and spirals already, so the heads learn within minutes what tells
dreamed galaxies from real ones, and they ask for structure, not only texture (projected discriminators: Sauer et al.
2021, arXiv 2111.01007). Each head adds the likeness of its features and the condition (Miyato and Koyama 2018,
arXiv 1802.05637), so it also asks whether the galaxy is what its votes say. The frozen network is not part of the
critic's weights, and none of this is needed to dream.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from galaxysd.diffusion.condition import Condition
from galaxysd.diffusion.network import UnitLayer

LEAKY = 0.2
LEAKY_RMS = math.sqrt((1 + LEAKY**2) / 2)  # root mean square of leaky_relu(z), z ~ N(0, 1)
SMALLEST = 8  # px; a larger map is halved between the two convolutions of its head
TOLD_GAIN = 2.0  # a known morphology fills about a quarter of its inputs with ones


class FeatureMaps(Protocol):
    """A frozen vision network (`embedding/maps.py` brings those of the transformers library).

    Attributes:
        channels: of each feature map.
        hash: what identifies its weights and how it looks at an image.
    """

    channels: tuple[int, ...]
    hash: str

    def __call__(self, images: Tensor) -> list[Tensor]:
        """[B, 3, S, S] in [0, 1] -> [B, C_h, s_h, s_h] for each resolution, finest first; differentiable."""


class Head(nn.Module):
    """Two convolutions on a feature map, then the mean of a linear form and of the likeness with the condition."""

    def __init__(self, channels: int, told: int) -> None:
        super().__init__()
        width = 64 if channels > 16 else 32  # the finest maps are large and have few channels
        self.inlet = UnitLayer(channels, width)
        self.conv_in = UnitLayer(width, width, 3)
        self.conv_out = UnitLayer(width, width, 3, gain=1 / LEAKY_RMS)
        self.told = UnitLayer(told, width, gain=TOLD_GAIN)
        self.outlet = UnitLayer(width, 1, gain=1 / LEAKY_RMS)

    def forward(self, features: Tensor, told: Tensor) -> Tensor:
        """[B, C, s, s], [B, T] -> [B]."""
        rows = self.inlet(features).permute(0, 2, 3, 1)
        hidden = functional.layer_norm(rows, rows.shape[-1:]).permute(0, 3, 1, 2)
        hidden = functional.leaky_relu(self.conv_in(functional.leaky_relu(hidden, LEAKY)), LEAKY)
        if hidden.shape[-1] >= SMALLEST:
            hidden = functional.avg_pool2d(hidden, 2)
        hidden = functional.leaky_relu(self.conv_out(hidden), LEAKY)
        likeness = torch.einsum("bcyx,bc->byx", hidden, self.told(told)) / (LEAKY_RMS * math.sqrt(hidden.shape[1]))
        logit: Tensor = (self.outlet(hidden)[:, 0] + likeness).mean(dim=(1, 2))
        return logit


class Critic(nn.Module):
    """One head per feature map.

    Args:
        channels: of the feature maps (`FeatureMaps.channels`).
        answers: A, answers in the tree.
        questions: Q, questions in the tree.
        surveys: number of survey tokens.
    """

    def __init__(self, channels: Sequence[int], *, answers: int, questions: int, surveys: int) -> None:
        super().__init__()
        self.surveys = surveys
        told = answers + questions + surveys + 1 + 4  # four waves of the noise level
        self.heads = nn.ModuleList([Head(count, told) for count in channels])

    def forward(self, maps: list[Tensor], condition: Condition, level: Tensor) -> Tensor:
        """Feature maps of B galaxies, what was asked for, and the noise levels they were denoised from -> [B, H]."""
        token = functional.one_hot(condition.survey, self.surveys + 1)
        log_ratio = torch.logit(level)[:, None] * torch.tensor([0.3, 0.6], device=level.device)
        waves = torch.cat([log_ratio.sin(), log_ratio.cos()], dim=1)
        told = torch.cat([condition.fractions, condition.known.float(), token.float(), waves], dim=1)
        return torch.stack([head(features, told) for head, features in zip(self.heads, maps, strict=True)], dim=1)
