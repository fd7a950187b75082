"""The perceptual term of the loss: what a vision network sees must be right, not only each pixel.

A small denoiser cannot learn all of a galaxy. Squared error in pixels lets it spend itself on what carries most light;
edges, arms and thin disks are little of that. So where shapes are decided the denoised image is also compared through
the feature maps of a frozen network that learned from photographs (LPIPS: Zhang et al. 2018, arXiv 1801.03924; as a
loss of diffusion models that draw the image itself: Lin and Yang 2024, arXiv 2401.00110):

    sum over maps |f(D) / rms(f(D)) - f(x) / rms(f(x))|^2,  rms over the channels of a position

How far that is means little beside a squared error in pixels, so only its direction counts: its gradient at each galaxy
is brought to `strength` times the length of that of the galaxy's squared error.

It acts between two noise levels. Below them texture is drawn, and there anything but the mean makes galaxies too much
alike (docs/decisions.md); above them there is hardly a shape to compare.
"""

from typing import Protocol

import torch
from pydantic import Field
from torch import Tensor

from galaxysd.settings import Settings


class FeatureMaps(Protocol):
    """A frozen vision network (`embedding/maps.py` brings those of the transformers library).

    Attributes:
        hash: what identifies its weights and how it looks at an image.
    """

    hash: str

    def __call__(self, images: Tensor) -> list[Tensor]:
        """[B, 3, S, S] in [0, 1] -> [B, C_h, s_h, s_h] for each resolution, finest first; differentiable."""


class PerceptualSettings(Settings):
    """How much what is seen counts, and where."""

    side: int = Field(default=64, ge=32, description="px at which the vision network looks")
    strength: float = Field(default=6.0, gt=0, description="pull of what is seen / that of the squared error")
    lowest: float = Field(default=-1.5, description="least log noise to signal")
    highest: float = Field(default=2.0, description="largest log noise to signal")


def perceptual_distance(features: FeatureMaps, images: Tensor, others: Tensor) -> Tensor:
    """How unlike images [B, 3, S, S] in [0, 1] look to others of the same shape, [B]; differentiable."""
    pairs = zip(map(_directions, features(images)), map(_directions, features(others)), strict=True)
    return torch.stack([(one - other).square().mean(dim=(1, 2, 3)) for one, other in pairs]).sum(dim=0)


def _directions(features: Tensor) -> Tensor:
    """[B, C, s, s] with a root mean square of one over the channels."""
    return features * (features.square().mean(dim=1, keepdim=True) + 1e-3).rsqrt()


def perceptual_pull(features: FeatureMaps, images: Tensor, others: Tensor, strength: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of the distance of each image to its counterpart, brought to a given length.

    Args:
        features: what looks.
        images: [B, 3, S, S] in [0, 1]; others: the same shape.
        strength: [B] lengths.

    Returns:
        [B, 3, S, S], and the distances [B].
    """
    seen = images.detach().requires_grad_()
    distance = perceptual_distance(features, seen, others)
    (pull,) = torch.autograd.grad(distance.sum(), seen)
    length = pull.flatten(1).norm(dim=1).clamp(min=1e-12)
    return pull * (strength / length)[:, None, None, None], distance.detach()
