"""The autoencoder as a task for training/fit.py.

    loss = a |y - x| + p mean over maps |f(y) / rms f(y) - f(x) / rms f(x)|^2 + c critic + k (mean^2 + (var - 1)^2)

x is the image, y its reconstruction from latents with a little Gaussian noise. The terms: absolute error; what a frozen
vision network sees (LPIPS: Zhang et al. 2018, arXiv 1801.03924), so that arms, bars and lanes count for more than their
light; a small patch critic with spectral normalisation (Miyato et al. 2018, arXiv 1802.05957; hinge loss), which comes
in after part of the training and sees reconstructions only, never a condition; latents near zero mean and unit
variance (k is small: several processes take these statistics over their own rows, not over the whole batch).
"""

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from galaxysd.diffusion.autoencoder import Autoencoder, to_pixels, to_unit
from galaxysd.diffusion.data import GalaxyPool
from galaxysd.nn import fast_precision
from galaxysd.reports.contact_sheet import contact_sheet
from galaxysd.settings import Settings
from galaxysd.training.ema import swapped


class FeatureMaps(Protocol):
    """A frozen vision network (`embedding/maps.py` brings those of the transformers library).

    Attributes:
        hash: what identifies its weights and how it looks at an image.
    """

    hash: str

    def __call__(self, images: Tensor) -> list[Tensor]:
        """[B, 3, S, S] in [0, 1] -> [B, C_h, s_h, s_h] for each resolution, finest first; differentiable."""


class AutoencoderTaskSettings(Settings):
    """What the autoencoder is trained on."""

    absolute: float = Field(default=4.0, ge=0, description="a, weight of the absolute error")
    perceptual: float = Field(default=0.5, ge=0, description="p, weight of what the vision network sees")
    critic: float = Field(default=0.15, ge=0, description="c, weight of the critic")
    critic_from: float = Field(default=0.3, ge=0, le=1, description="share of the training before the critic counts")
    noise: float = Field(default=0.05, ge=0, description="deviation of the noise on the latents")
    unit: float = Field(default=1e-3, ge=0, description="k, pull of the latents to zero mean and unit variance")
    sheet: int = Field(default=24, ge=0, description="held-out galaxies on the sheet of every snapshot")


class Critic(nn.Module):
    """Tells patches of images from patches of reconstructions: [B, 3, S, S] -> [B, 1, s, s]."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels_in, channels_out, kernel, stride in (
            (3, 48, 4, 2),
            (48, 96, 4, 2),
            (96, 192, 3, 1),
            (192, 1, 3, 1),
        ):
            conv = nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2)
            layers += [spectral_norm(conv), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers[:-1])
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, S, S] in [-1, 1] -> one value a patch."""
        values: Tensor = self.layers(images)
        return values


class AutoencoderWithCritic(nn.Module):
    """What learns: the autoencoder and its critic, called once a step so that several processes stay in step."""

    def __init__(self, autoencoder: Autoencoder, critic: Critic) -> None:
        super().__init__()
        self.autoencoder, self.critic = autoencoder, critic

    def forward(self, images: Tensor, noise: Tensor, *, judged: bool) -> tuple[Tensor, ...]:
        """Images [B, 3, S, S] and noise of the latents -> reconstruction, latents, and what the critic says.

        The critic's three values [B, 1, s, s] are: of the reconstruction with the critic held fixed (gradients reach
        the autoencoder alone), of the images, and of the reconstruction held fixed (gradients reach the critic alone).
        """
        precision = fast_precision(images.device)
        with torch.autocast(images.device.type, dtype=precision, enabled=precision != torch.float32):
            raw = self.autoencoder.encoder(images)
            drawn = self.autoencoder.decoder(raw + noise.to(raw.dtype)).float()
            if not judged:  # several processes need a gradient, if only zero, of every weight
                return drawn + 0.0 * sum(weight.sum() for weight in self.critic.parameters()), raw.float()
            fixed = {name: value.detach() for name, value in self.critic.named_parameters()}
            of_drawn = functional_call(self.critic, fixed, (drawn,))
            return (
                drawn,
                raw.float(),
                of_drawn.float(),
                self.critic(images).float(),
                self.critic(drawn.detach()).float(),
            )


class AutoencoderTask:
    """Train an `Autoencoder` (protocol `Task` of training/fit.py)."""

    def __init__(
        self,
        autoencoder: Autoencoder,
        settings: AutoencoderTaskSettings,
        held_out: GalaxyPool,
        features: FeatureMaps | None,
    ) -> None:
        """Args: autoencoder: it learns. settings: the loss. held_out: to watch. features: of the perceptual term."""
        self.autoencoder, self.settings, self.features = autoencoder, settings, features
        self.model: nn.Module = AutoencoderWithCritic(autoencoder, Critic())
        indices = np.linspace(0, len(held_out) - 1, min(192, len(held_out))).astype(np.int64)
        self.held_out = held_out.images(indices)

    def prepare(self, batch: dict[str, Tensor], generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        """The noise of the latents, and whether the critic counts yet."""
        images = batch["images"]
        shape = self.autoencoder.settings
        size = (len(images), shape.channels, shape.latent_size, shape.latent_size)
        judged = self.settings.critic > 0 and progress >= self.settings.critic_from
        return {
            "images": images,
            "noise": self.settings.noise * torch.randn(size, generator=generator),
            "judged": torch.full((len(images),), judged),
        }

    def loss(
        self, model: nn.Module, batch: dict[str, Tensor], generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        """The loss of a prepared batch, and its parts."""
        settings = self.settings
        images = to_unit(batch["images"]).contiguous(memory_format=torch.channels_last)
        judged = bool(batch["judged"][0])
        drawn, raw, *said = model(images, batch["noise"], judged=judged)
        absolute = (drawn - images).abs().mean()
        mean, variance = raw.mean(dim=(0, 2, 3)), raw.var(dim=(0, 2, 3))
        unit = mean.square().mean() + (variance - 1).square().mean()
        loss = settings.absolute * absolute + settings.unit * unit
        measured: dict[str, Tensor | float] = {"absolute": absolute.detach()}
        if self.features is not None and settings.perceptual:
            seen = perceptual_distance(self.features, (drawn + 1) / 2, (images + 1) / 2).mean()
            loss = loss + settings.perceptual * seen
            measured["perceptual"] = seen.detach()
        if judged:
            of_drawn, of_images, of_fixed = said
            critic = functional.relu(1 - of_images).mean() + functional.relu(1 + of_fixed).mean()
            loss = loss - settings.critic * of_drawn.mean() + critic
            measured["critic"] = critic.detach()
        return loss, measured

    @torch.no_grad()
    def snapshot(self, weights: dict[str, Tensor], folder: Path, images_seen: int) -> dict[str, float]:
        """Error of held-out reconstructions in 8-bit steps, and `samples-<images>.png` of originals above them."""
        with swapped(self.model, weights):
            drawn = torch.cat([self._reconstruct(block) for block in torch.split(self.held_out, 48)])
        rms = (drawn.float() - self.held_out.float()).square().mean().sqrt()
        if columns := min(self.settings.sheet, len(drawn)):
            pairs = (("galaxy", self.held_out), ("reconstruction", drawn))
            rows = [(name, images[:columns].permute(0, 2, 3, 1).numpy()) for name, images in pairs]
            sheet: Image.Image = contact_sheet(rows)
            sheet.save(folder / f"samples-{images_seen:012d}.png")
        return {"held_out": round(float(rms), 4)}

    def _reconstruct(self, pixels: Tensor) -> Tensor:
        device = next(self.autoencoder.parameters()).device
        return to_pixels(self.autoencoder.decode(self.autoencoder.encode(to_unit(pixels).to(device)))).cpu()

    @torch.no_grad()
    def measure_latents(self, pool: GalaxyPool, sample: int = 2_000) -> None:
        """Set mean and deviation of each latent channel from training galaxies."""
        autoencoder = self.autoencoder
        autoencoder.mean.zero_()
        autoencoder.std.fill_(1)
        device = next(autoencoder.parameters()).device
        indices = np.linspace(0, len(pool) - 1, min(sample, len(pool))).astype(np.int64)
        blocks = torch.split(to_unit(pool.images(indices)), 64)
        latents = torch.cat([autoencoder.encode(block.to(device)) for block in blocks])
        autoencoder.mean.copy_(latents.mean(dim=(0, 2, 3)))
        autoencoder.std.copy_(latents.std(dim=(0, 2, 3)).clamp(min=1e-3))


def perceptual_distance(features: FeatureMaps, images: Tensor, others: Tensor) -> Tensor:
    """How unlike images [B, 3, S, S] in [0, 1] look to others of the same shape, [B]; differentiable in the first."""
    with torch.no_grad():
        wanted = [_directions(seen) for seen in features(others)]
    found = [_directions(seen) for seen in features(images)]
    pairs = zip(found, wanted, strict=True)
    return torch.stack([(one - other).square().mean(dim=(1, 2, 3)) for one, other in pairs]).mean(dim=0)


def _directions(features: Tensor) -> Tensor:
    """[B, C, s, s] with a root mean square of one over the channels."""
    return features.float() * (features.float().square().mean(dim=1, keepdim=True) + 1e-4).rsqrt()
