"""The grain stage: what the decoder's mean image lacks, drawn by a small local flow at full resolution.

In: a decoded image y [B, 3, S, S] in [-1, 1] and its survey. Out: y + r, where r is a sample of what real galaxies have
beside their reconstruction: sky noise, compression, the finest structure. Sky noise cannot be encoded in a thousand
numbers, and a decoder without a source of randomness cannot draw it.

It is the flow of `flow.py` for r / `spread`, from pure noise, with y as the condition (residual diffusion, as in
super-resolution: Saharia et al. 2021, arXiv 2104.07636). The network is a handful of 3x3 convolutions without any
change of resolution, so a step never sees more than 2 blocks + 2 px around (10 px with four blocks), can be trained on
crops and leaves no grid.
"""

import math

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from galaxysd.diffusion import flow
from galaxysd.nn import fast_precision
from galaxysd.settings import Settings


class GrainSettings(Settings):
    """Shape of the grain network."""

    width: int = Field(default=48, ge=1, description="channels")
    blocks: int = Field(default=4, ge=1, description="residual blocks of two 3x3 convolutions")
    spread: float = Field(default=0.03, gt=0, description="deviation of the residual of training galaxies, in [-1, 1]")
    steps: int = Field(default=4, ge=1, le=100, description="Euler steps from noise to grain")
    surveys: int = Field(ge=1, description="number of survey tokens; index `surveys` means unknown")


class GrainNetwork(nn.Module):
    """D(r_s, s | y): the residual expected behind a noisy one, in units of `spread`."""

    def __init__(self, settings: GrainSettings) -> None:
        super().__init__()
        self.settings = settings
        width, blocks = settings.width, settings.blocks
        self.conv_in = nn.Conv2d(6, width, 3, padding=1)
        self.embed = nn.Sequential(nn.Linear(1 + settings.surveys + 1, 64), nn.SiLU(), nn.Linear(64, blocks * width))
        self.first = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(blocks))
        self.second = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(blocks))
        self.conv_out = nn.Conv2d(width, 3, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, noisy: Tensor, level: Tensor, decoded: Tensor, survey: Tensor) -> Tensor:
        """Noisy residual [B, 3, S, S], s [B], decoded image [B, 3, S, S], survey [B] -> clean residual [B, 3, S, S]."""
        s = level[:, None, None, None]
        c_in = flow.input_scale(level, 1.0)
        token = functional.one_hot(survey, self.settings.surveys + 1).float()
        embedded = self.embed(torch.cat([torch.logit(level.clamp(1e-3, 1 - 1e-3))[:, None] / 4, token], dim=1))
        scales = embedded.view(len(noisy), self.settings.blocks, self.settings.width, 1, 1)
        precision = fast_precision(noisy.device)
        inputs = torch.cat([c_in * noisy, 2 * decoded], dim=1).contiguous(memory_format=torch.channels_last)
        with torch.autocast(noisy.device.type, dtype=precision, enabled=precision != torch.float32):
            features = self.conv_in(inputs)
            for index, (first, second) in enumerate(zip(self.first, self.second, strict=True)):
                hidden = first(functional.silu(features)) * (1 + scales[:, index]).to(features.dtype)
                features = features + 0.3 * second(functional.silu(hidden))
            raw = self.conv_out(functional.silu(features)).float()
        # EDM's preconditioning with unit spread: c_skip = (1 - s) c_in^2, c_out = s c_in (flow.py)
        denoised: Tensor = (1 - s) * c_in**2 * noisy + s * c_in * raw
        return denoised

    @torch.no_grad()
    def add(self, decoded: Tensor, survey: Tensor, noise: Tensor) -> Tensor:
        """Draw the grain: images and standard normal noise [B, 3, S, S] -> images with grain [B, 3, S, S].

        Euler steps in the angle a of tan a = s / (1 - s) for the residual divided by its noise to signal length, so
        u = cos a r + sin a e and du/da = cos a e - sin a r. Nothing of it moves where the residual is unit noise, so
        grain keeps its strength even with few steps; four steps in s itself would lose a quarter to a half of it.
        """
        settings = self.settings
        levels = grain_levels(settings.steps)
        residual = noise
        for now, then in zip(levels, (*levels[1:], 0.0), strict=True):
            level = torch.full((len(noise),), now, device=noise.device)
            denoised = self(residual, level, decoded, survey)
            expected_noise = denoised + flow.velocity(residual, denoised, level)
            angle, turn = math.atan2(now, 1 - now), math.atan2(then, 1 - then) - math.atan2(now, 1 - now)
            moved = residual / math.hypot(now, 1 - now)
            moved = moved + turn * (math.cos(angle) * expected_noise - math.sin(angle) * denoised)
            residual = math.hypot(then, 1 - then) * moved
        return decoded + settings.spread * residual


def grain_levels(steps: int) -> tuple[float, ...]:
    """Noise levels s of the Euler steps: from pure noise, even in s."""
    return tuple(1 - step / steps for step in range(steps))
