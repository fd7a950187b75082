"""The latent flow as a task for training/fit.py: the loss, the held-out loss, and the sheet of fixed-seed samples.

Loss: E[ w(s) |D(x_s, s, c) - x|^2 ] over latents x, with the weight of flow.py.
Noise levels: log(s / (1 - s)) ~ N(level_mean, level_deviation).
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor, nn

from galaxysd.diffusion import flow
from galaxysd.diffusion.autoencoder import Autoencoder, to_pixels, to_unit
from galaxysd.diffusion.condition import Condition, as_told, encode, random_mask
from galaxysd.diffusion.data import GalaxyPool
from galaxysd.diffusion.denoiser import GalaxyDenoiser
from galaxysd.diffusion.guidance import GuidanceSettings, GuidedDenoiser
from galaxysd.diffusion.samplers import sample
from galaxysd.errors import InputError
from galaxysd.nn import normalise_weights
from galaxysd.prompts import Morphology, Vocabulary, parse
from galaxysd.reports.contact_sheet import contact_sheet
from galaxysd.settings import Settings
from galaxysd.training.ema import swapped

HELD_OUT_LEVELS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)  # log noise to signal
LEVEL_BINS = (("clean", -99.0, -1.0), ("middle", -1.0, 1.0), ("noisy", 1.0, 99.0))


class TaskSettings(Settings):
    """What the latent flow is trained on."""

    level_mean: float = Field(default=0.0, description="mean of log noise to signal")
    level_deviation: float = Field(default=1.5, gt=0, description="deviation of log noise to signal")
    least_error: float = Field(default=0.2, gt=0, description="bound of the loss weight, see flow.loss_weight")
    rounded: float = Field(
        default=0.5, ge=0, le=1, description="share of galaxies told in words, see condition.as_told"
    )
    votes: int = Field(default=20, ge=1, description="votes that are cast anew for the others")
    drop_all: float = Field(default=0.1, ge=0, le=1, description="share of galaxies that lose every answer")
    keep_all: float = Field(default=0.3, ge=0, le=1, description="share of galaxies that keep every answer")
    drop_survey: float = Field(default=0.1, ge=0, le=1, description="share of galaxies that lose the survey token")
    sheet: tuple[str, ...] = Field(default=(), description="prompts of the sample sheet at every snapshot")


class FlowTask:
    """Train a `GalaxyDenoiser` on latents (protocol `Task` of training/fit.py)."""

    def __init__(
        self, denoiser: GalaxyDenoiser, autoencoder: Autoencoder, settings: TaskSettings, held_out: GalaxyPool
    ) -> None:
        """Make the task.

        Args:
            denoiser: it learns.
            autoencoder: it stays as it is.
            settings: what is trained on.
            held_out: galaxies of the held-out loss.
        """
        self.model: nn.Module = denoiser
        self.denoiser, self.autoencoder, self.settings = denoiser, autoencoder, settings
        self.sheet = _understood(settings.sheet, Vocabulary.load(denoiser.tree, denoiser.surveys))
        generator = torch.Generator().manual_seed(0)
        indices = np.linspace(0, len(held_out) - 1, min(256, len(held_out))).astype(np.int64)
        with torch.no_grad():
            blocks = torch.split(to_unit(held_out.images(indices)), 64)
            self.held_latents = torch.cat([autoencoder.encode(block.to(self._device)).cpu() for block in blocks])
        self.held_condition = held_out.condition(indices)
        self.held_noise = torch.randn(self.held_latents.shape, generator=generator)

    @property
    def _device(self) -> torch.device:
        return next(self.autoencoder.parameters()).device

    def prepare(self, batch: dict[str, Tensor], generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        """Noise, levels, and conditions in other words with questions hidden at random."""
        latents = batch["latents"]
        level = flow.sample_levels(len(latents), self.settings.level_mean, self.settings.level_deviation, generator)
        noise = torch.randn(latents.shape, generator=generator)
        specified = self.specified(batch, generator)
        return {
            "latents": latents,
            "level": level,
            "noise": noise,
            "fractions": specified.fractions,
            "known": specified.known,
            "survey": specified.survey,
        }

    def loss(
        self, model: nn.Module, batch: dict[str, Tensor], generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        """The loss of a prepared batch; also its mean in three ranges of noise."""
        latents, level = batch["latents"], batch["level"]
        condition = Condition(batch["fractions"], batch["known"], batch["survey"])
        denoised = model(flow.add_noise(latents, batch["noise"], level), level, condition)
        weight = flow.loss_weight(level, self.denoiser.spread, self.settings.least_error)
        errors = (weight * (denoised - latents).square()).mean(dim=(1, 2, 3))
        log_ratio = torch.logit(level)
        measured: dict[str, Tensor | float] = {}
        for name, low, high in LEVEL_BINS:
            chosen = ((log_ratio >= low) & (log_ratio < high)).float()
            measured[f"loss_{name}"] = (errors.detach() * chosen).sum() / chosen.sum().clamp(min=1)
        return errors.mean(), measured

    def specified(self, batch: dict[str, Tensor], generator: torch.Generator) -> Condition:
        """What is told of the galaxies of a batch: in other words, with questions hidden at random."""
        answers = self.denoiser.answers_of.cpu()
        condition = Condition(batch["fractions"], batch["known"], batch["survey"])
        return random_mask(
            as_told(condition, answers, generator, rounded=self.settings.rounded, votes=self.settings.votes),
            answers,
            generator,
            drop_all=self.settings.drop_all,
            keep_all=self.settings.keep_all,
            drop_survey=self.settings.drop_survey,
            unknown_survey=len(self.denoiser.surveys),
        )

    @torch.no_grad()
    def snapshot(self, weights: dict[str, Tensor], folder: Path, images_seen: int) -> dict[str, float]:
        """Held-out loss of the averaged weights, and `samples-<images>.png`, always from the same noise."""
        with swapped(self.denoiser, weights):
            normalise_weights(self.denoiser)  # an average of unit vectors is shorter than one
            measured = {f"held_out_{level:+.0f}": self._held_out(level) for level in HELD_OUT_LEVELS}
            measured["held_out"] = sum(measured.values()) / len(measured)
            if self.sheet:
                self._sheet().save(folder / f"samples-{images_seen:012d}.png")
        return {name: round(value, 5) for name, value in measured.items()}

    def _held_out(self, log_ratio: float) -> float:
        level = torch.full((len(self.held_latents),), float(torch.sigmoid(torch.tensor(log_ratio))))
        device = self._device
        noisy = flow.add_noise(self.held_latents, self.held_noise, level)
        weight = flow.loss_weight(level, self.denoiser.spread, self.settings.least_error)
        denoised = self.denoiser(noisy.to(device), level.to(device), self.held_condition.to(device)).cpu()
        return float((weight * (denoised - self.held_latents).square()).mean())

    def _sheet(self, columns: int = 8) -> Image.Image:
        """Samples without the grain stage, guidance 2."""
        denoiser, rows, device = self.denoiser, [], self._device
        shape = denoiser.unet.settings
        for row, (prompt, morphology) in enumerate(self.sheet):
            condition = encode([morphology] * columns, denoiser.tree, denoiser.surveys).to(device)
            weights = torch.ones(condition.known.shape, device=device)
            generator = torch.Generator().manual_seed(row)
            noise = torch.randn((columns, shape.channels, shape.size, shape.size), generator=generator).to(device)
            settings = GuidanceSettings(scale=2.0)
            guided = GuidedDenoiser(denoiser, condition, weights, torch.zeros_like(weights), settings)
            images = to_pixels(self.autoencoder.decode(sample(guided, noise, "dpm++2m", 12)))
            rows.append((prompt, images.permute(0, 2, 3, 1).cpu().numpy()))
        return contact_sheet(rows)


def _understood(prompts: tuple[str, ...], vocabulary: Vocabulary) -> list[tuple[str, Morphology]]:
    """The prompts of a sheet that these data have words for; the others are named once and left out."""
    found = []
    for prompt in prompts:
        try:
            found.append((prompt, parse(prompt, vocabulary)))
        except InputError as error:
            sys.stderr.write(f"the sheet leaves out {prompt!r}: {error}\n")
    return found
