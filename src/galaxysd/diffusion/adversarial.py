"""Adversarial fine-tuning as a task for training/fit.py: a denoiser that draws galaxies instead of their mean.

A denoiser trained on squared error draws the mean of all galaxies that may hide behind the noise: a blur, wherever the
noise leaves room. Here a critic (critic.py) compares what it draws with real galaxies of the same condition, and the
denoiser learns to draw one of them, as in denoising diffusion GANs (Xiao et al. 2022, arXiv 2112.07804) and adversarial
diffusion distillation (Sauer et al. 2023, arXiv 2311.17042). The squared error of flow matching keeps each drawing near
the galaxy behind the noise, so condition and variety of the earlier model stay.

    denoiser:  w(s) |D(x_s, s, c) - x|^2 - a critic(D(x_s, s, c), c, s)
    critic:    max(0, 1 - critic(real, c, s)) + max(0, 1 + critic(D(x_s, s, c), c, s))

a is such that, in each batch, the critic pulls at the drawing `pull` times as hard as the squared error does.

The critic takes part below a noise level only. Above it, where size, place and light of a galaxy are decided, the
denoiser goes on to learn means: an ODE over means reaches all kinds of galaxies, and drawings from hardly more than
noise are too much alike. Sample such a model with `drawing` (samplers.py), which changes over at the same level.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from galaxysd.diffusion import flow
from galaxysd.diffusion.condition import Condition
from galaxysd.diffusion.critic import Critic, FeatureMaps
from galaxysd.diffusion.denoiser import GalaxyDenoiser
from galaxysd.diffusion.network import normalise_weights
from galaxysd.diffusion.samplers import CHANGE
from galaxysd.diffusion.task import FlowMatchingTask
from galaxysd.settings import Settings
from galaxysd.training.fit import Batch, FitSettings


class AdversarialSettings(Settings):
    """How the critic takes part."""

    side: int = Field(default=96, ge=32, description="px at which the critic looks")
    pull: float = Field(default=9.0, gt=0, description="pull of the critic at a drawing / that of the squared error")
    lowest: float = Field(default=-2.5, description="least log noise to signal; below it there is nothing to invent")
    highest: float = Field(default=4.4, description="largest log noise to signal")
    means: float = Field(default=0.4, ge=0, lt=1, description="share of the galaxies from levels above `CHANGE`")


@dataclass(frozen=True)
class Truth:
    """Real galaxies as the critic is shown them.

    Attributes:
        images: [B, 3, S, S] in model units.
        condition: what is said of them, in the words of training.
        level: [B] noise levels that the drawings beside them come from, so that the level tells nothing.
    """

    images: Tensor
    condition: Condition
    level: Tensor


class Duel(nn.Module):
    """Denoiser and critic as one network with one loss, whose gradients are each side's own."""

    def __init__(self, denoiser: GalaxyDenoiser, critic: Critic, features: FeatureMaps, pull: float) -> None:
        super().__init__()
        self.denoiser, self.critic = denoiser, critic
        self._features = (features,)  # in a tuple: frozen weights are no part of checkpoints
        self.pull = pull

    def _maps(self, images: Tensor) -> list[Tensor]:
        return self._features[0]((images + self.denoiser.scale.mean + 1) / 2)

    def forward(
        self, noisy: Tensor, level: Tensor, condition: Condition, weight: Tensor, images: Tensor, truth: Truth
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of one step, and what is worth logging.

        Args:
            noisy: x_s [B, 3, S, S]; the critic sees what is drawn from the first `len(truth.level)` of them.
            level: s [B].
            condition: what the denoiser is told.
            weight: w(s) [B, 1, 1, 1].
            images: x [B, 3, S, S].
            truth: other real galaxies for the critic.
        """
        normalise_weights(self.critic)
        denoised = self.denoiser(noisy, level, condition)
        errors = (weight * (denoised - images).square()).mean(dim=(1, 2, 3))

        first = slice(len(truth.level))
        drawn, level, condition = denoised[first], level[first], condition[first]
        seen = drawn.detach().requires_grad_()
        maps = self._maps(seen)
        with torch.no_grad():
            real_maps = self._maps(truth.images)
        false = self.critic([features.detach() for features in maps], condition, level)
        true = self.critic(real_maps, truth.condition, truth.level)
        critic_loss = (functional.relu(1 + false) + functional.relu(1 - true)).mean()

        frozen = {name: value.detach() for name, value in self.critic.named_parameters()}
        verdict = functional_call(self.critic, frozen, (maps, condition, level)).mean(dim=1)
        (pull,) = torch.autograd.grad(verdict.sum(), seen)
        own = 2 * weight[first] * (seen.detach() - images[first]) / images[0].numel()
        strength = self.pull * own.flatten(1).norm(dim=1).mean() / pull.flatten(1).norm(dim=1).mean().clamp(min=1e-12)
        # A linear form of the drawing whose gradient is the critic's pull; its value means nothing.
        pulled = strength * (pull * drawn).sum() / len(images)
        measured = {
            "squared_error": errors.mean(),
            "critic": critic_loss,
            "critic_real": true.mean(),
            "critic_drawn": false.mean(),
        }
        return errors.mean() - pulled + critic_loss, {name: value.detach() for name, value in measured.items()}


def denoiser_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The denoiser's part of the weights of a `Duel`; all, if they are a denoiser's alone."""
    own = {name.removeprefix("denoiser."): value for name, value in weights.items() if name.startswith("denoiser.")}
    return own or weights


def make_optimizers(model: nn.Module, settings: FitSettings) -> list[torch.optim.Optimizer]:
    """Adam without momentum for both sides: the other one has moved on by the next step."""
    return [torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, betas=(0.0, 0.99), weight_decay=0.0)]


class AdversarialTask:
    """Fine-tune a `GalaxyDenoiser` against a critic (protocol `Task` of training/fit.py).

    Batches hold twice as many galaxies as the denoiser sees: the second half is what the critic compares with.
    """

    def __init__(self, flow_matching: FlowMatchingTask, features: FeatureMaps, settings: AdversarialSettings) -> None:
        self.flow_matching, self.settings = flow_matching, settings
        denoiser = self.denoiser = flow_matching.denoiser
        critic = Critic(
            features.channels,
            answers=len(denoiser.tree.columns),
            questions=len(denoiser.tree.questions),
            surveys=len(denoiser.surveys),
        )
        self.model: nn.Module = Duel(denoiser, critic, features, settings.pull)

    def loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """The loss of both sides on a batch of `GalaxyPool.batch`."""
        device = next(model.parameters()).device
        images = self.denoiser.scale.encode(batch["images"])
        condition = self.flow_matching.told(batch, generator)
        half, settings = len(images) // 2, self.settings
        means = round(half * settings.means)
        level = torch.cat(
            [
                _levels(half - means, settings.lowest, CHANGE, generator),
                _levels(means, CHANGE, settings.highest, generator),
            ]
        )
        noise = torch.randn(images[:half].shape, generator=generator)
        shown = slice(half, 2 * half - means)
        truth = Truth(
            images[shown].to(device),
            condition[shown].to(device),
            level[torch.randperm(half - means, generator=generator)].to(device),
        )
        told = condition[:half].to(device)
        images, noise, level = images[:half].to(device), noise.to(device), level.to(device)
        weight = flow.loss_weight(level, self.denoiser.scale.spread, self.flow_matching.settings.least_error)
        noisy = flow.add_noise(images, noise, level)
        loss, measured = model(noisy, level, told, weight, images, truth)
        return loss, {name: float(value) for name, value in measured.items()}

    def snapshot(self, weights: dict[str, Tensor], folder: Path, images_seen: int) -> dict[str, float]:
        """That of flow matching, of the denoiser alone."""
        return self.flow_matching.snapshot(denoiser_weights(weights), folder, images_seen)


def _levels(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Noise levels s [count] whose log noise to signal is uniform, stratified over the batch."""
    uniform = (torch.arange(count) + torch.rand(count, generator=generator)) / max(count, 1)
    return torch.sigmoid(low + (high - low) * uniform)
