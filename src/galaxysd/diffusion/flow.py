"""The noise process: flow matching with a preconditioned denoiser, as pure functions.

An image x and noise e make the noisy image  x_s = (1 - s) x + s e  for a noise level s in [0, 1] (s = 1 is pure noise, so
sampling starts exactly where training ends: Lipman et al. 2023, arXiv 2210.02747). The same point in the terms of
Karras et al. 2022 (EDM, arXiv 2206.00364): noise to signal sigma = s / (1 - s).

The network output F is not the image. Following EDM (table 1), carried over to x_s:

    D(x_s, s) = c_skip x_s + c_out F(c_in x_s, s)
    c_skip = d^2 (1 - s) / r^2,   c_out = s d / r,   c_in = 1 / r,   r^2 = s^2 + d^2 (1 - s)^2

with d the spread of the data. Near pure noise D = d F, the network draws the image; near the clean end D = x_s + s F, it
only removes the noise, so texture of any amplitude passes through untouched.
"""

from typing import Protocol

import torch
from torch import Tensor


class Denoiser(Protocol):
    """D(x_s, s): the clean image expected behind a noisy one."""

    def __call__(self, noisy: Tensor, level: Tensor) -> Tensor:
        """[B, 3, S, S], [B] -> [B, 3, S, S]."""


def _column(level: Tensor) -> Tensor:
    return level[:, None, None, None]


def add_noise(images: Tensor, noise: Tensor, level: Tensor) -> Tensor:
    """x_s = (1 - s) x + s e."""
    return (1 - _column(level)) * images + _column(level) * noise


def coefficients(level: Tensor, spread: float) -> tuple[Tensor, Tensor, Tensor]:
    """c_skip, c_out, c_in of the preconditioning, each [B, 1, 1, 1]."""
    s = _column(level)
    r = torch.sqrt(s**2 + spread**2 * (1 - s) ** 2)
    return spread**2 * (1 - s) / r**2, s * spread / r, 1 / r


def velocity(noisy: Tensor, denoised: Tensor, level: Tensor) -> Tensor:
    """dx_s/ds = e - x = (x_s - D) / s, what an Euler step in s needs."""
    return (noisy - denoised) / _column(level)


def sample_levels(count: int, mean: float, deviation: float, generator: torch.Generator) -> Tensor:
    """Noise levels for training: log sigma = logit s ~ N(mean, deviation) (EDM section 5).

    Stratified over the batch, so that every batch covers the whole range and the loss is less noisy.
    """
    uniform = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    normal = torch.special.ndtri(uniform.clamp(1e-6, 1 - 1e-6))
    return torch.sigmoid(mean + deviation * normal)


def time_grid(steps: int, *, sigma_max: float = 80.0, sigma_min: float = 0.01, rho: float = 7.0) -> list[float]:
    """Noise levels s for `steps` solver steps, from 1 towards the clean end (the final 0 is the scheduler's).

    Even in sigma^(1/rho) as in EDM eq. 5; the first level is put at exactly s = 1, pure noise.
    """
    if steps == 1:
        return [1.0]
    inverse = [sigma_max ** (1 / rho) + i / (steps - 1) * (sigma_min ** (1 / rho) - sigma_max ** (1 / rho)) for i in range(steps)]
    levels = [root**rho / (1 + root**rho) for root in inverse]
    return [1.0, *levels[1:]]
