"""Flow matching as a task for training/fit.py: the loss, the held-out loss, and the sheet of fixed-seed samples.

Loss: E[ w(s) |D(x_s, s, c) - x|^2 ] with the weight of flow.py, and the perceptual term of perceptual.py where a recipe
has one. Noise levels: log(s / (1 - s)) ~ N(level_mean, level_deviation).
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor, nn

from galaxysd.diffusion import flow
from galaxysd.diffusion.condition import Condition, as_told, encode, random_mask
from galaxysd.diffusion.data import GalaxyPool
from galaxysd.diffusion.denoiser import GalaxyDenoiser
from galaxysd.diffusion.guidance import GuidanceSettings, GuidedDenoiser
from galaxysd.diffusion.perceptual import FeatureMaps, PerceptualSettings, perceptual_pull
from galaxysd.diffusion.samplers import make_scheduler, sample
from galaxysd.prompts import Vocabulary, parse
from galaxysd.reports.contact_sheet import contact_sheet
from galaxysd.settings import Settings
from galaxysd.training.ema import swapped

HELD_OUT_LEVELS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)  # log noise to signal
LEVEL_BINS = (("clean", -99.0, -2.5), ("middle", -2.5, 0.0), ("noisy", 0.0, 99.0))


class TaskSettings(Settings):
    """What the generator is trained on."""

    level_mean: float = Field(default=-1.2, description="mean of log noise to signal")
    level_deviation: float = Field(default=1.6, gt=0, description="deviation of log noise to signal")
    least_error: float = Field(default=0.03, gt=0, description="bound of the loss weight, see flow.loss_weight")
    rounded: float = Field(
        default=0.5, ge=0, le=1, description="share of galaxies told in words, see condition.as_told"
    )
    votes: int = Field(default=20, ge=1, description="votes that are cast anew for the others")
    drop_all: float = Field(default=0.1, ge=0, le=1, description="share of galaxies that lose every answer")
    keep_all: float = Field(default=0.3, ge=0, le=1, description="share of galaxies that keep every answer")
    drop_survey: float = Field(default=0.1, ge=0, le=1, description="share of galaxies that lose the survey token")
    sheet: tuple[str, ...] = Field(default=(), description="prompts of the sample sheet at every snapshot")


class FlowMatchingTask:
    """Train a `GalaxyDenoiser` (protocol `Task` of training/fit.py)."""

    def __init__(
        self,
        model: GalaxyDenoiser,
        settings: TaskSettings,
        held_out: GalaxyPool,
        perceptual: tuple[PerceptualSettings, FeatureMaps] | None = None,
    ) -> None:
        """Make the task.

        Args:
            model: it learns.
            settings: what it is trained on.
            held_out: galaxies of the held-out loss.
            perceptual: the perceptual term, and what looks.
        """
        self.perceptual = perceptual
        self.model: nn.Module = model
        self.denoiser = model
        self.settings = settings
        generator = torch.Generator().manual_seed(0)
        indices = np.linspace(0, len(held_out) - 1, min(256, len(held_out))).astype(np.int64)
        self.held_images = model.scale.encode(held_out.images(indices))
        self.held_condition = held_out.condition(indices)
        self.held_noise = torch.randn(self.held_images.shape, generator=generator)

    def loss(
        self, model: nn.Module, batch: dict[str, Tensor], generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        """The loss of a batch of `GalaxyPool.batch`; also its mean in three ranges of noise."""
        device = next(model.parameters()).device
        images = self.denoiser.scale.encode(batch["images"])
        level = flow.sample_levels(len(images), self.settings.level_mean, self.settings.level_deviation, generator)
        noise = torch.randn(images.shape, generator=generator)
        condition = self.told(batch, generator).to(device)
        images, noise, level = images.to(device), noise.to(device), level.to(device)
        denoised = model(flow.add_noise(images, noise, level), level, condition)
        weight = flow.loss_weight(level, self.denoiser.scale.spread, self.settings.least_error)
        errors = (weight * (denoised - images).square()).mean(dim=(1, 2, 3))
        log_ratio = torch.logit(level)
        measured = {}
        for name, low, high in LEVEL_BINS:
            chosen = (log_ratio >= low) & (log_ratio < high)
            if chosen.any():
                measured[f"loss_{name}"] = float(errors.detach()[chosen].mean())
        loss = errors.mean()
        if self.perceptual is not None:
            settings, features = self.perceptual
            chosen = (log_ratio > settings.lowest) & (log_ratio < settings.highest)
            if chosen.any():
                drawn, scale = denoised[chosen], self.denoiser.scale
                own = 2 * weight[chosen] * (drawn.detach() - images[chosen]) / images[0].numel()
                strength = settings.strength * own.flatten(1).norm(dim=1)
                pull, distance = perceptual_pull(features, scale.unit(drawn), scale.unit(images[chosen]), strength)
                # A linear form of the drawings whose gradient is the pull; its value means nothing.
                loss = loss + (pull * drawn).sum() / len(images)
                measured["perceptual"] = float(distance.mean())
        return loss, measured

    def told(self, batch: dict[str, Tensor], generator: torch.Generator) -> Condition:
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
        denoiser = self.denoiser
        with swapped(denoiser, weights):
            measured = {f"held_out_{level:+.0f}": self._held_out(level) for level in HELD_OUT_LEVELS}
            measured["held_out"] = sum(measured.values()) / len(measured)
            if self.settings.sheet:
                self._sheet().save(folder / f"samples-{images_seen:012d}.png")
        return {name: round(value, 5) for name, value in measured.items()}

    def _held_out(self, log_ratio: float) -> float:
        level = torch.full((len(self.held_images),), float(torch.sigmoid(torch.tensor(log_ratio))))
        device = next(self.denoiser.parameters()).device
        noisy = flow.add_noise(self.held_images, self.held_noise, level)
        weight = flow.loss_weight(level, self.denoiser.scale.spread, self.settings.least_error)
        denoised = self.denoiser(noisy.to(device), level.to(device), self.held_condition.to(device)).cpu()
        return float((weight * (denoised - self.held_images).square()).mean())

    def _sheet(self, columns: int = 8) -> Image.Image:
        denoiser, rows = self.denoiser, []
        device = next(denoiser.parameters()).device
        vocabulary = Vocabulary.load(denoiser.tree, denoiser.surveys)
        size = denoiser.unet.settings.size
        for row, prompt in enumerate(self.settings.sheet):
            condition = encode([parse(prompt, vocabulary)] * columns, denoiser.tree, denoiser.surveys).to(device)
            weights = torch.ones(condition.known.shape, device=device)
            noise = torch.randn((columns, 3, size, size), generator=torch.Generator().manual_seed(row)).to(device)
            guided = GuidedDenoiser(denoiser, None, condition, weights, torch.zeros_like(weights), GuidanceSettings())
            images = denoiser.scale.decode(sample(guided, noise, make_scheduler("dpm++2m", 16)))
            rows.append((prompt, images.permute(0, 2, 3, 1).cpu().numpy()))
        return contact_sheet(rows)
