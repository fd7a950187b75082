"""How training galaxies are varied: turned and flipped only, or as much as a galaxy survives.

In: uint8 images [B, 3, S, S] with classes [B]. Out: uint8 images and a distribution over the classes [B, K].

`dihedral` is one of the eight orientations. `strong` is a random view (data/transforms.py: any angle, zoom, shift,
seeing, brightness, colour, a missing square, noise), and of a share of the images a mixture with another one: mixup
(Zhang et al. 2018, arXiv 1710.09412) or CutMix (Yun et al. 2019, arXiv 1905.04899), evenly.
"""

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from galaxysd.data.transforms import ViewSettings, dihedral, random_views
from galaxysd.settings import Settings


class StrongAugmentation(Settings):
    """How far the strong augmentation goes."""

    views: ViewSettings = ViewSettings(resampled=0.75, zoom=0.2, brightness=0.15, colour=0.05, blurred=0.2, cut=0.2)
    mixed: float = Field(default=0.5, ge=0, le=1, description="share of images that are mixed with another")
    mixup: float = Field(default=0.4, gt=0, description="both parameters of the beta distribution of mixup's share")
    cutmix: float = Field(default=1.0, gt=0, description="the same of CutMix")


def turned(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Each image in one of its eight orientations."""
    return dihedral(pixels, torch.randint(8, (len(pixels),), generator=generator))


def strong(
    pixels: Tensor, labels: Tensor, classes: int, settings: StrongAugmentation, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Random views, some of them mixed.

    Args:
        pixels: uint8 [B, 3, S, S].
        labels: int64 [B].
        classes: K.
        settings: how far.
        generator: source of all draws.

    Returns:
        uint8 [B, 3, S, S] and a distribution over the classes [B, K].
    """
    views = random_views(pixels, settings.views, generator)
    targets = functional.one_hot(labels, classes).float()
    # torch draws no beta numbers from a generator of one's own
    rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    partner = torch.from_numpy(rng.permutation(len(pixels)))
    lot = rng.random(len(pixels))
    own = np.ones(len(pixels))
    blended, cut = lot < settings.mixed / 2, (lot >= settings.mixed / 2) & (lot < settings.mixed)
    own[blended] = rng.beta(settings.mixup, settings.mixup, blended.sum())
    own[cut] = rng.beta(settings.cutmix, settings.cutmix, cut.sum())
    outside, kept = _windows(own, rng.random((len(pixels), 2)), pixels.shape[-1])
    share = torch.from_numpy(np.where(cut, kept, own)).float()
    by_pixel = torch.where(torch.from_numpy(cut)[:, None, None], outside.float(), share[:, None, None])[:, None]
    mixed = by_pixel * views + (1 - by_pixel) * views[partner]
    targets = share[:, None] * targets + (1 - share[:, None]) * targets[partner]
    return (mixed * 255).round().to(torch.uint8), targets


def _windows(own: np.ndarray, centre: np.ndarray, side: int) -> tuple[Tensor, np.ndarray]:
    """Where CutMix keeps the image itself.

    Args:
        own: [B], share of the image that is to stay.
        centre: [B, 2] in [0, 1], of the square that goes; what reaches over the border is lost.
        side: px.

    Returns:
        Flags [B, S, S], and the share that really stays [B].
    """
    half = np.sqrt(1 - own)[:, None, None] / 2
    places = (np.arange(side) + 0.5) / side
    inside = np.abs(places - centre[:, :, None]) <= half
    outside = ~(inside[:, 0, :, None] & inside[:, 1, None, :])
    return torch.from_numpy(outside), outside.mean(axis=(1, 2))
