"""Guidance: how much a sample listens to its condition, answer by answer.

    D = D(nothing) + g [D(c) - D(nothing)] + g sum_q (w_q - 1) [D(c) - D(c without q)]

The first two terms are classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598). The answers of a prompt share
it: with k known questions g = 1 + (scale - 1) / k. So a prompt of one phrase is obeyed, and the votes of a real galaxy,
which say everything already, are hardly pushed beyond what real galaxies look like. It acts only between two noise
levels (Kynkaanniemi et al. 2024, arXiv 2404.07724): above `to_level`, where size and length are decided, it stretches
cigars until they leave the frame; below `from_level` it costs texture and diversity. The sum gives every question q
with a prompt weight w_q its own guidance: w > 1 stresses it, w < 1 plays it down, and w = 1 costs nothing. It goes on
below `from_level`, since what is stressed may be small: a ring is drawn late.

Guidance of a whole prompt drowns its rare part: "barred spiral galaxy" becomes more of a spiral and less barred as g
rises. So the rarest answer of a prompt carries the weight `rarest`, if the prompt says anything else; its own weight w
adds w - 1 to that, and below 1 also takes the share 1 - w of it away.
"""

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from galaxysd.diffusion.condition import Condition
from galaxysd.diffusion.denoiser import GalaxyDenoiser
from galaxysd.settings import Settings


class GuidanceSettings(Settings):
    """Strength and range of guidance."""

    scale: float = Field(
        default=1.5, ge=0, le=30, allow_inf_nan=False, description="g of a prompt of one answer; 1 is no guidance"
    )
    from_level: float = Field(default=0.3, ge=0, le=1, description="lowest noise level s with guidance but by weights")
    to_level: float = Field(default=0.95, ge=0, le=1, description="highest noise level s with guidance")
    rarest: float = Field(
        default=1.0, gt=0, le=5, allow_inf_nan=False, description="weight of a prompt's rarest answer"
    )


def rarest_answer(condition: Condition, answers_of: Tensor, evidence: Tensor) -> Tensor:
    """How clearly each prompt gives its rarest answer, [B, Q] float32 in [0, 1], 0 for all questions but that answer's.

    It is 2 f - 1 for an answer of fraction f: 1 in words, less for votes. Prompts of one question get nothing.

    Args:
        condition: what is asked; an answer counts where its fraction is above one half.
        answers_of: [A] index of the question of each answer.
        evidence: [A] training galaxies with each answer.
    """
    counts = torch.where(condition.fractions > 0.5, evidence.to(condition.fractions), torch.inf)
    found = torch.zeros(condition.known.shape)
    rows = torch.nonzero((condition.known.sum(dim=1) > 1) & counts.isfinite().any(dim=1)).flatten()
    answer = counts[rows].argmin(dim=1)
    found[rows, answers_of[answer]] = 2 * condition.fractions[rows, answer] - 1
    return found


@dataclass(frozen=True)
class GuidedDenoiser:
    """D(x_s, s) of one batch of prompts.

    Attributes:
        denoiser: the model.
        condition: what is asked, B galaxies.
        weights: [B, Q] prompt weight of each question, 1 where there is none.
        rarest: [B, Q] clarity of each prompt's rarest answer (`rarest_answer`), less where its weight is below 1.
        settings: strength and range.
    """

    denoiser: GalaxyDenoiser
    condition: Condition
    weights: Tensor
    rarest: Tensor
    settings: GuidanceSettings

    def __call__(self, noisy: Tensor, level: Tensor) -> Tensor:
        """[B, C, h, w], [B] -> [B, C, h, w]."""
        s, settings = float(level[0]), self.settings
        asked: Tensor
        guided: Tensor
        scale = 1 + (settings.scale - 1) / self.condition.known.sum(dim=1).clamp(min=1)  # [B]
        whole = settings.from_level <= s <= settings.to_level
        if whole and settings.scale != 1:
            # One pass for both, which a processor likes better than two of half the size.
            nothing = self.condition.unconditional()
            both = self.denoiser(noisy.repeat(2, 1, 1, 1), level.repeat(2), self.condition.joined(nothing))
            asked, without_all = both.chunk(2)
            guided = without_all + scale[:, None, None, None] * (asked - without_all)
        else:
            asked = guided = self.denoiser(noisy, level, self.condition)
        if s > settings.to_level:
            return guided
        if whole and settings.rarest != 1 and bool(self.rarest.any()):
            keep = self.rarest == 0
            without = self.denoiser(noisy, level, self.condition.masked(keep, self.denoiser.answers_of))
            emphasis = scale * (settings.rarest - 1) * self.rarest.sum(dim=1)
            guided = guided + emphasis[:, None, None, None] * (asked - without)
        for question in torch.nonzero((self.weights != 1).any(dim=0)).flatten().tolist():
            keep = torch.ones_like(self.condition.known)
            keep[:, question] = False
            without = self.denoiser(noisy, level, self.condition.masked(keep, self.denoiser.answers_of))
            emphasis = scale * (self.weights[:, question] - 1)
            guided = guided + emphasis[:, None, None, None] * (asked - without)
        return guided
