"""The latent denoiser: a magnitude-preserving U-Net over the latents of an autoencoder, conditioned on a morphology.

In: noisy latents [B, C, h, w], their noise level [B], answer fractions [B, A], known questions [B, Q], survey index
[B]. Out: the raw network output F [B, C, h, w]; `flow.py` turns it into denoised latents.

The noisy latents also reach the last convolution directly, so that noise need not squeeze through the network.
Source: U-Net with skip connections (Ronneberger et al. 2015; Ho et al. 2020) of the layers in `galaxysd.nn` (EDM2).
"""

import math
from typing import Annotated, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from galaxysd.nn import (
    BRANCH_GAIN,
    SILU_RMS,
    STREAM_GAIN,
    MPConv,
    MPModulation,
    fast_precision,
    normalise_channels,
    normalise_weights,
)
from galaxysd.settings import Settings

CONDITION_GAIN = 3.0  # a known morphology fills about a ninth of its inputs with ones
HEAD = 64  # channels of an attention head


class NetworkSettings(Settings):
    """Shape of the network."""

    size: int = Field(default=16, ge=2, description="side of the latents")
    channels: int = Field(default=4, ge=1, description="C, channels of the latents")
    widths: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        default=(128, 192, 256), min_length=1, description="channels at each level"
    )
    blocks: int = Field(default=2, ge=1, description="residual blocks per level, on the way down and on the way up")
    attention_from: int = Field(default=1, ge=0, description="first level with self-attention")
    embedding: int = Field(default=256, ge=8, description="width of the condition embedding")
    answers: int = Field(ge=1, description="A, answers in the tree")
    questions: int = Field(ge=1, description="Q, questions in the tree")
    surveys: int = Field(ge=1, description="number of survey tokens; index `surveys` means unknown")

    @model_validator(mode="after")
    def _whole_levels(self) -> Self:
        for width in (*self.widths[self.attention_from :], self.widths[-1]):
            if width > HEAD and width % HEAD:
                raise ValueError(f"a level with attention needs a multiple of {HEAD} channels, not {width}")
        if self.size % 2 ** (len(self.widths) - 1):
            raise ValueError(f"latents of side {self.size} cannot be halved {len(self.widths) - 1} times")
        return self


class ConditionEmbedding(nn.Module):
    """Noise level, morphology and survey in one vector [B, E]."""

    frequencies: Tensor

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        width = settings.embedding
        self.surveys = settings.surveys
        self.register_buffer("frequencies", torch.exp(torch.linspace(-3.0, 3.0, 32)), persistent=False)
        self.noise = MPConv(64, width)
        self.morphology = MPConv(
            settings.answers + settings.questions + settings.surveys + 1, width, gain=CONDITION_GAIN / math.sqrt(2)
        )
        self.hidden = MPConv(width, width, gain=1 / SILU_RMS)

    def forward(self, level: Tensor, fractions: Tensor, known: Tensor, survey: Tensor) -> Tensor:
        """Embed; the flow noise level in (0, 1] is seen through its logit (log of noise to signal)."""
        log_ratio = torch.logit(level.clamp(1e-4, 1 - 1e-4)) / 4  # [B], of order one
        waves = log_ratio[:, None] * self.frequencies
        # Unknown questions carry zeros in `fractions`; their mask tells zero votes from no votes.
        token = functional.one_hot(survey, self.surveys + 1)
        specified = torch.cat([fractions, known.to(fractions.dtype), token.to(fractions.dtype)], dim=1)
        vector = self.noise(torch.cat([waves.sin(), waves.cos()], dim=1)) + self.morphology(specified)
        return functional.silu(self.hidden(functional.silu(vector))) / SILU_RMS


class SelfAttention(nn.Module):
    """The branch of multi-head self-attention over all positions, with queries and keys normalised."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // HEAD)
        self.qkv = MPConv(channels, 3 * channels)
        self.out = MPConv(channels, channels, gain=BRANCH_GAIN)

    def forward(self, features: Tensor) -> Tensor:
        """[B, C, h, w] -> the same."""
        batch, channels, height, width = features.shape
        # In channels-last memory the positions are rows already, so this costs no copy.
        rows = self.qkv(features).permute(0, 2, 3, 1)  # [B, h, w, 3C]
        query, key, value = rows.reshape(batch, height * width, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        depth = query.shape[-1:]
        query, key = functional.layer_norm(query, depth), functional.layer_norm(key, depth)
        # Written out: with at most 256 positions the fused CPU kernel is several times slower on the way back.
        likeness = (query * depth[0] ** -0.5) @ key.transpose(-1, -2)  # [B, heads, hw, hw]
        mixed = likeness.softmax(dim=-1) @ value  # [B, heads, hw, C/heads]
        mixed = mixed.transpose(1, 2).reshape(batch, height, width, channels).permute(0, 3, 1, 2)
        branch: Tensor = self.out(mixed)
        return branch


class Block(nn.Module):
    """Two 3x3 convolutions with the condition between them, then self-attention where asked for."""

    def __init__(self, channels_in: int, channels_out: int, embedding: int, *, attention: bool) -> None:
        super().__init__()
        self.conv_skip = MPConv(channels_in, channels_out) if channels_in != channels_out else nn.Identity()
        self.conv_in = MPConv(channels_out, channels_out, 3, gain=1 / SILU_RMS)
        self.modulation = MPModulation(embedding, channels_out)
        self.conv_out = MPConv(channels_out, channels_out, 3, gain=BRANCH_GAIN / SILU_RMS)
        self.attention = SelfAttention(channels_out) if attention else None

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """[B, C_in, h, w], [B, E] -> [B, C_out, h, w]."""
        stream = normalise_channels(self.conv_skip(features))
        hidden = self.modulation(self.conv_in(functional.silu(stream)), condition)
        stream = torch.add(self.conv_out(functional.silu(hidden)), stream, alpha=STREAM_GAIN)
        if self.attention is not None:
            stream = torch.add(self.attention(stream), stream, alpha=STREAM_GAIN)
        return stream


class GalaxyUNet(nn.Module):
    """The U-Net of the latent denoiser."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        latent, widths, embedding = settings.channels, settings.widths, settings.embedding
        self.condition = ConditionEmbedding(settings)
        self.conv_in = MPConv(latent + 1, widths[0], 3)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        skips, channels = [], widths[0]
        for depth, width in enumerate(widths):
            for _ in range(settings.blocks):
                self.down.append(Block(channels, width, embedding, attention=depth >= settings.attention_from))
                channels = width
                skips.append(channels)
        self.middle = Block(channels, channels, embedding, attention=True)
        for depth, width in reversed(list(enumerate(widths))):
            for _ in range(settings.blocks):
                attention = depth >= settings.attention_from
                self.up.append(Block(channels + skips.pop(), width, embedding, attention=attention))
                channels = width
        self.gate = MPModulation(embedding, latent)
        self.conv_out = MPConv(channels + latent, latent, 3)
        self.gain = nn.Parameter(torch.zeros(()))
        normalise_weights(self)

    def forward(self, latents: Tensor, level: Tensor, fractions: Tensor, known: Tensor, survey: Tensor) -> Tensor:
        """[B, C, h, w], [B], [B, A], [B, Q], [B] -> F [B, C, h, w] float32."""
        if self.training and torch.is_grad_enabled():  # whoever only looks must leave no trace
            normalise_weights(self)
        condition = self.condition(level, fractions, known, survey)
        latents = latents.to(fast_precision(latents.device)).contiguous(memory_format=torch.channels_last)
        # The constant channel stands in for biases, which would not keep magnitudes.
        features = self.conv_in(torch.cat([latents, torch.ones_like(latents[:, :1])], dim=1))
        skips: list[Tensor] = []
        levels, blocks = len(self.settings.widths), self.settings.blocks
        for depth in range(levels):
            if depth > 0:
                features = functional.avg_pool2d(features, 2)
            for block in self.down[depth * blocks : (depth + 1) * blocks]:
                features = block(features, condition)
                skips.append(features)
        features = self.middle(features, condition)
        for depth in range(levels):
            if depth > 0:
                features = features.repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)
            for block in self.up[depth * blocks : (depth + 1) * blocks]:
                features = block(torch.cat([features, skips.pop()], dim=1), condition)
        raw = self.conv_out(torch.cat([features, self.gate(latents, condition)], dim=1))
        drawn: Tensor = raw.float() * self.gain
        return drawn
