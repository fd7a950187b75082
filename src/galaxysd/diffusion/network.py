"""The network of the `mini` base: a convolutional U-Net over pixel-unshuffled images, conditioned on a morphology.

In: a noisy image [B, 3, S, S], its noise level [B], answer fractions [B, A], known questions [B, Q], survey index [B].
Out: the raw network output F [B, 3, S, S]; `flow.py` turns it into a denoised image.

The image is folded by `patch` (space to depth), so that every convolution works at a quarter (or less) of the pixels
with a multiple of the channels, where a CPU is fast. The folded input also reaches the last convolution directly: sky
noise must not squeeze through the narrow layers.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from galaxysd.settings import Settings


class NetworkSettings(Settings):
    """Shape of the network."""

    size: int = Field(default=64, ge=8, description="image side in pixels")
    patch: int = Field(default=4, ge=1, description="side of the square of pixels folded into channels")
    widths: tuple[int, ...] = Field(default=(64, 128, 256), min_length=1, description="channels at each level")
    blocks: int = Field(
        default=2, ge=1, description="residual blocks per level on the way down (one more on the way up)"
    )
    attention_from: int = Field(default=1, ge=0, description="first level with self-attention")
    embedding: int = Field(default=256, ge=8, description="width of the condition embedding")
    answers: int = Field(ge=1, description="A, answers in the tree")
    questions: int = Field(ge=1, description="Q, questions in the tree")
    surveys: int = Field(ge=1, description="number of survey tokens; index `surveys` means unknown")


Channels = Annotated[int, "channels of a feature map"]


def group_norm(channels: Channels) -> nn.GroupNorm:
    """Group normalisation with 16 channels a group."""
    return nn.GroupNorm(max(1, channels // 16), channels)


class ConditionEmbedding(nn.Module):
    """Noise level, morphology and survey in one vector [B, E]."""

    frequencies: Tensor

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        width = settings.embedding
        self.register_buffer("frequencies", torch.exp(torch.linspace(-3.0, 3.0, 32)), persistent=False)
        self.noise = nn.Linear(64, width)
        self.morphology = nn.Linear(settings.answers + settings.questions, width)
        self.survey = nn.Embedding(settings.surveys + 1, width)
        self.hidden = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, sigma: Tensor, fractions: Tensor, known: Tensor, survey: Tensor) -> Tensor:
        """Embed; `sigma` is the flow noise level in (0, 1], seen through its logit (log of noise to signal)."""
        level = torch.logit(sigma.clamp(1e-4, 1 - 1e-4)) / 4  # [B], of order one
        waves = level[:, None] * self.frequencies
        vector = self.noise(torch.cat([waves.sin(), waves.cos()], dim=1))
        # Unknown questions carry zeros in `fractions`; their mask tells zero votes from no votes.
        vector = (
            vector + self.morphology(torch.cat([fractions, known.to(fractions.dtype)], dim=1)) + self.survey(survey)
        )
        return functional.silu(self.out(functional.silu(self.hidden(functional.silu(vector)))))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions; the condition scales and shifts the second normalisation."""

    def __init__(self, channels_in: Channels, channels_out: Channels, embedding: int) -> None:
        super().__init__()
        self.norm_in = group_norm(channels_in)
        self.conv_in = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * channels_out)
        self.norm_out = group_norm(channels_out)
        self.conv_out = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()
        nn.init.zeros_(self.conv_out.weight)  # every block starts as the identity
        nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """[B, C_in, h, w], [B, E] -> [B, C_out, h, w]."""
        hidden = self.conv_in(functional.silu(self.norm_in(features)))
        scale, shift = self.modulation(condition)[:, :, None, None].chunk(2, dim=1)
        hidden = torch.addcmul(shift, self.norm_out(hidden), scale + 1)
        result: Tensor = self.shortcut(features) + self.conv_out(functional.silu(hidden))
        return result


class SelfAttention(nn.Module):
    """Multi-head self-attention over all positions, 64 channels a head."""

    def __init__(self, channels: Channels) -> None:
        super().__init__()
        self.heads = max(1, channels // 64)
        self.norm = group_norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """[B, C, h, w] -> the same."""
        batch, channels, height, width = features.shape
        # In channels-last memory the positions are rows already, so this costs no copy.
        rows = self.qkv(self.norm(features)).permute(0, 2, 3, 1)  # [B, h, w, 3C]
        query, key, value = rows.reshape(batch, height * width, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        # Written out: with at most 256 positions the fused CPU kernel is several times slower on the way back.
        likeness = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)  # [B, heads, hw, hw]
        mixed = likeness.softmax(dim=-1) @ value  # [B, heads, hw, C/heads]
        mixed = mixed.transpose(1, 2).reshape(batch, height, width, channels).permute(0, 3, 1, 2)
        result: Tensor = features + self.out(mixed)
        return result


class Level(nn.Module):
    """One residual block, with or without attention after it."""

    def __init__(self, channels_in: Channels, channels_out: Channels, embedding: int, attention: bool) -> None:
        super().__init__()
        self.block = ResidualBlock(channels_in, channels_out, embedding)
        self.attention = SelfAttention(channels_out) if attention else nn.Identity()

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """[B, C_in, h, w] -> [B, C_out, h, w]."""
        result: Tensor = self.attention(self.block(features, condition))
        return result


class GalaxyUNet(nn.Module):
    """U-Net with skip connections between equal resolutions (Ronneberger et al. 2015; Ho et al. 2020)."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        folded, widths, embedding = 3 * settings.patch**2, settings.widths, settings.embedding
        self.condition = ConditionEmbedding(settings)
        self.inlet = nn.Conv2d(folded, widths[0], 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.shrink, self.grow = nn.ModuleList(), nn.ModuleList()
        skips, channels = [widths[0]], widths[0]
        for depth, width in enumerate(widths):
            attention = depth >= settings.attention_from
            for _ in range(settings.blocks):
                self.down.append(Level(channels, width, embedding, attention))
                channels = width
                skips.append(channels)
            if depth < len(widths) - 1:
                self.shrink.append(nn.Conv2d(channels, channels, 3, stride=2, padding=1))
                skips.append(channels)
        for depth, width in reversed(list(enumerate(widths))):
            attention = depth >= settings.attention_from
            for _ in range(settings.blocks + 1):
                self.up.append(Level(channels + skips.pop(), width, embedding, attention))
                channels = width
            if depth > 0:
                self.grow.append(nn.Conv2d(channels, channels, 3, padding=1))
        self.norm = group_norm(channels)
        self.gate = nn.Linear(embedding, folded)
        self.outlet = nn.Conv2d(channels + folded, folded, 3, padding=1)
        nn.init.zeros_(self.outlet.weight)
        nn.init.zeros_(self.outlet.bias)  # type: ignore[arg-type]
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor, sigma: Tensor, fractions: Tensor, known: Tensor, survey: Tensor) -> Tensor:
        """[B, 3, S, S], [B], [B, A], [B, Q], [B] -> F [B, 3, S, S]."""
        condition = self.condition(sigma, fractions, known, survey)
        folded = functional.pixel_unshuffle(images, self.settings.patch).contiguous(memory_format=torch.channels_last)
        features = self.inlet(folded)
        skips = [features]
        levels, blocks = len(self.settings.widths), self.settings.blocks
        for depth in range(levels):
            for level in self.down[depth * blocks : (depth + 1) * blocks]:
                features = level(features, condition)
                skips.append(features)
            if depth < levels - 1:
                features = self.shrink[depth](features)
                skips.append(features)
        for step in range(levels):
            for level in self.up[step * (blocks + 1) : (step + 1) * (blocks + 1)]:
                features = level(torch.cat([features, skips.pop()], dim=1), condition)
            if step < levels - 1:
                features = self.grow[step](functional.interpolate(features, scale_factor=2.0, mode="nearest"))
        features = functional.silu(self.norm(features))
        # How much of the noisy input belongs into the output depends on the noise level.
        folded = folded * (1 + self.gate(condition)[:, :, None, None])
        return functional.pixel_shuffle(self.outlet(torch.cat([features, folded], dim=1)), self.settings.patch)
