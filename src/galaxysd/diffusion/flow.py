"""The noise process: flow matching with a preconditioned denoiser, as pure functions.

An image x and noise e make the noisy image  x_s = (1 - s) x + s e  for a noise level s from 0 (the image) to 1 (pure
noise): Lipman et al. 2023, arXiv 2210.02747. The same point in the terms of Karras et al. 2022 (EDM, arXiv 2206.00364):
noise to signal sigma = s / (1 - s).

The network sees c_in x_s = x_s / r with r^2 = s^2 + d^2 (1 - s)^2, d the spread of the data, and draws the clean image
itself (x-prediction): D = d F(c_in x_s, s). The error is weighed by 1 / c_out^2, c_out = s d / r, which is EDM's
weight, bounded so that levels far below the sky noise do not outweigh all else. Predicting the image rather than the
noise lets the narrow layers of a small network carry the galaxy only (docs/decisions.md has the pilots).
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


def input_scale(level: Tensor, spread: float) -> Tensor:
    """c_in = 1 / r, [B, 1, 1, 1]: brings x_s to unit variance."""
    s = _column(level)
    return (s**2 + spread**2 * (1 - s) ** 2).rsqrt()


def loss_weight(level: Tensor, spread: float, least_error: float) -> Tensor:
    """1 / max(c_out, least_error)^2 with c_out = s d / r, [B, 1, 1, 1] (EDM table 1).

    Args:
        level: s, [B].
        spread: d.
        least_error: in model units; errors below it are not worth chasing (an 8-bit step is 0.008).
    """
    c_out = _column(level) * spread * input_scale(level, spread)
    return c_out.clamp(min=least_error) ** -2


def velocity(noisy: Tensor, denoised: Tensor, level: Tensor) -> Tensor:
    """dx_s/ds = e - x = (x_s - D) / s, what an Euler step in s needs."""
    return (noisy - denoised) / _column(level)


def sample_levels(count: int, mean: float, deviation: float, generator: torch.Generator) -> Tensor:
    """Noise levels for training: log sigma = logit s ~ N(mean, deviation) (EDM section 5).

    Stratified over the batch, so that every batch covers the whole range and the loss is less noisy.
    """
    device = generator.device
    uniform = (torch.arange(count, device=device) + torch.rand(count, generator=generator, device=device)) / count
    normal = torch.special.ndtri(uniform.clamp(1e-6, 1 - 1e-6))
    return torch.sigmoid(mean + deviation * normal)


def time_grid(steps: int, *, sigma_max: float = 40.0, sigma_min: float = 0.06, rho: float = 7.0) -> list[float]:
    """Noise levels s for `steps` solver steps, from nearly pure noise down (the final 0 is the scheduler's).

    Even in sigma^(1/rho) as in EDM eq. 5. Noise 40 times the latents hides all of a galaxy, so starting from noise
    alone costs nothing. Below 0.06 there is nothing to draw: the decoder was trained with as much noise on its
    latents, and eight steps down to there are worth twelve down to 0.01 (docs/research_log).
    """
    top, bottom = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    roots = [top + step / max(steps - 1, 1) * (bottom - top) for step in range(steps)]
    return [root**rho / (1 + root**rho) for root in roots]
