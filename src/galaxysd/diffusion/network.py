"""The network of the `mini` base: a magnitude-preserving U-Net over pixel-unshuffled images, told a morphology.

In: a noisy image [B, 3, S, S], its noise level [B], answer fractions [B, A], known questions [B, Q], survey index [B].
Out: the raw network output F [B, 3, S, S]; `flow.py` turns it into a denoised image.

The image is folded by `patch` (space to depth), so that every convolution works at a quarter (or less) of the pixels
with a multiple of the channels, where a CPU is fast. The folded input also reaches the last convolution directly: sky
noise must not squeeze through the narrow layers.

What is thinner than a folded square gets lost that way: edges, arms and dust lanes are washed out even where the noisy
image shows them. So at low noise a refiner, a few blocks at half the resolution that never see the whole galaxy, may
look at the noisy image and at what the U-Net draws, and correct that.

Every layer keeps the variance of what passes through it (Karras et al. 2024, EDM2, arXiv 2312.02696, section 2): the
weights of each output channel have unit mean square and are divided by the root of their number, sums and activations
are rescaled, and each block starts from normalised features. No level can therefore drown another (docs/decisions.md
tells how the coarse levels starved without this), gradients are exact enough in bfloat16, and the length of a weight
vector means nothing, so it is set back to one in every training step.
"""

import math
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from galaxysd.settings import Settings

SILU_RMS = 0.596  # root mean square of silu(z), z ~ N(0, 1) (EDM2 eq. 81)
BRANCH = 0.3  # share of the branch in a residual sum (EDM2 eq. 88)
STREAM_GAIN = (1 - BRANCH) / math.hypot(1 - BRANCH, BRANCH)
BRANCH_GAIN = BRANCH / math.hypot(1 - BRANCH, BRANCH)
CONDITION_GAIN = 3.0  # a known morphology fills about a ninth of its inputs with ones
HEAD = 64  # channels of an attention head


class RefinerSettings(Settings):
    """Shape of the refiner, and where it works."""

    patch: int = Field(default=2, ge=1, description="side of the square of pixels folded into channels")
    width: int = Field(default=96, ge=1, description="channels")
    blocks: int = Field(default=3, ge=1, description="residual blocks")
    below: float = Field(default=0.6, gt=0, le=1, description="highest noise level s at which it works")


class NetworkSettings(Settings):
    """Shape of the network."""

    size: int = Field(default=64, ge=8, description="image side in pixels")
    patch: int = Field(default=4, ge=1, description="side of the square of pixels folded into channels")
    widths: tuple[int, ...] = Field(default=(64, 128, 256), min_length=1, description="channels at each level")
    blocks: int = Field(default=2, ge=1, description="residual blocks per level, on the way down and on the way up")
    attention_from: int = Field(default=1, ge=0, description="first level with self-attention")
    embedding: int = Field(default=256, ge=8, description="width of the condition embedding")
    answers: int = Field(ge=1, description="A, answers in the tree")
    questions: int = Field(ge=1, description="Q, questions in the tree")
    surveys: int = Field(ge=1, description="number of survey tokens; index `surveys` means unknown")
    refiner: RefinerSettings | None = Field(default=None, description="null: the U-Net alone")

    @model_validator(mode="after")
    def _whole_heads(self) -> Self:
        for width in (*self.widths[self.attention_from :], self.widths[-1]):
            if width > HEAD and width % HEAD:
                raise ValueError(f"a level with attention needs a multiple of {HEAD} channels, not {width}")
        return self


def fast_precision(device: torch.device) -> torch.dtype:
    """bfloat16 where the device computes it in hardware, else float32 (without it, bfloat16 is 100 times slower)."""
    if device.type == "cpu":
        return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.float32


def normalise_channels(features: Tensor) -> Tensor:
    """[B, C, h, w]: zero mean and unit variance over the channels of each position."""
    rows = features.permute(0, 2, 3, 1)
    return functional.layer_norm(rows, rows.shape[-1:], eps=1e-4).permute(0, 3, 1, 2)


class UnitLayer(nn.Module):
    """A convolution (or, on vectors, a linear layer) that keeps the variance of its input.

    The weights are a matrix [C_out, k k C_in] with rows of unit mean square; so stored, matrix optimizers take them as
    they are, and they are the channels-last weights of a convolution.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int = 1, *, gain: float = 1.0) -> None:
        super().__init__()
        self.shape = (channels_out, kernel, kernel, channels_in)
        fan_in = kernel * kernel * channels_in
        self.scale = gain / math.sqrt(fan_in)
        self.weight = nn.Parameter(torch.randn(channels_out, fan_in))

    @torch.no_grad()
    def normalise(self) -> None:
        """Set the mean square of each row back to one (EDM2 eq. 47, forced weight normalisation)."""
        length = torch.linalg.vector_norm(self.weight, dim=1, keepdim=True) / math.sqrt(self.weight.shape[1])
        self.weight.div_(length.clamp(min=1e-6))

    def forward(self, features: Tensor) -> Tensor:
        """[B, C_in, h, w] -> [B, C_out, h, w], or [B, C_in] -> [B, C_out]."""
        weight = (self.weight * self.scale).to(features.dtype)
        if features.ndim == 2:
            return functional.linear(features, weight)
        kernel = self.shape[1]
        return functional.conv2d(features, weight.view(self.shape).permute(0, 3, 1, 2), padding=kernel // 2)


def normalise_weights(network: nn.Module) -> None:
    """Set all weight vectors back to unit length: in every training step, and once after averaging."""
    for layer in network.modules():
        if isinstance(layer, UnitLayer):
            layer.normalise()


class Modulation(nn.Module):
    """1 + gain W c: what the condition multiplies each channel by; starts at one."""

    def __init__(self, embedding: int, channels: int) -> None:
        super().__init__()
        self.layer = UnitLayer(embedding, channels)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """[B, C, h, w], [B, E] -> [B, C, h, w]."""
        factor = (1 + self.gain * self.layer(condition)).to(features.dtype)
        modulated: Tensor = features * factor[:, :, None, None]
        return modulated


class ConditionEmbedding(nn.Module):
    """Noise level, morphology and survey in one vector [B, E]."""

    frequencies: Tensor

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        width = settings.embedding
        self.surveys = settings.surveys
        self.register_buffer("frequencies", torch.exp(torch.linspace(-3.0, 3.0, 32)), persistent=False)
        self.noise = UnitLayer(64, width)
        self.morphology = UnitLayer(
            settings.answers + settings.questions + settings.surveys + 1, width, gain=CONDITION_GAIN / math.sqrt(2)
        )
        self.hidden = UnitLayer(width, width, gain=1 / SILU_RMS)

    def forward(self, level: Tensor, fractions: Tensor, known: Tensor, survey: Tensor) -> Tensor:
        """Embed; the flow noise level in (0, 1] is seen through its logit (log of noise to signal)."""
        log_ratio = torch.logit(level.clamp(1e-4, 1 - 1e-4)) / 4  # [B], of order one
        waves = log_ratio[:, None] * self.frequencies
        # Unknown questions carry zeros in `fractions`; their mask tells zero votes from no votes.
        token = functional.one_hot(survey, self.surveys + 1)
        told = torch.cat([fractions, known.to(fractions.dtype), token.to(fractions.dtype)], dim=1)
        vector = self.noise(torch.cat([waves.sin(), waves.cos()], dim=1)) + self.morphology(told)
        return functional.silu(self.hidden(functional.silu(vector))) / SILU_RMS


class SelfAttention(nn.Module):
    """The branch of multi-head self-attention over all positions, with queries and keys normalised."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // HEAD)
        self.qkv = UnitLayer(channels, 3 * channels)
        self.out = UnitLayer(channels, channels, gain=BRANCH_GAIN)

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
        self.inlet = UnitLayer(channels_in, channels_out) if channels_in != channels_out else nn.Identity()
        self.conv_in = UnitLayer(channels_out, channels_out, 3, gain=1 / SILU_RMS)
        self.modulation = Modulation(embedding, channels_out)
        self.conv_out = UnitLayer(channels_out, channels_out, 3, gain=BRANCH_GAIN / SILU_RMS)
        self.attention = SelfAttention(channels_out) if attention else None

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """[B, C_in, h, w], [B, E] -> [B, C_out, h, w]."""
        stream = normalise_channels(self.inlet(features))
        hidden = self.modulation(self.conv_in(functional.silu(stream)), condition)
        stream = torch.add(self.conv_out(functional.silu(hidden)), stream, alpha=STREAM_GAIN)
        if self.attention is not None:
            stream = torch.add(self.attention(stream), stream, alpha=STREAM_GAIN)
        return stream


class Refiner(nn.Module):
    """Blocks at high resolution that correct what the U-Net draws, from the noisy image beside it."""

    def __init__(self, settings: NetworkSettings, shape: RefinerSettings) -> None:
        super().__init__()
        self.shape = shape
        folded = 6 * shape.patch**2
        self.condition = ConditionEmbedding(settings)
        self.inlet = UnitLayer(folded + 1, shape.width, 3)
        self.blocks = nn.ModuleList(
            Block(shape.width, shape.width, settings.embedding, attention=False) for _ in range(shape.blocks)
        )
        self.gate = Modulation(settings.embedding, folded)
        self.outlet = UnitLayer(shape.width + folded, folded // 2, 3)
        self.gain = nn.Parameter(torch.zeros(()))
        normalise_weights(self)

    def forward(
        self, images: Tensor, drawn: Tensor, level: Tensor, fractions: Tensor, known: Tensor, survey: Tensor
    ) -> Tensor:
        """Noisy images and F of the U-Net, both [B, 3, S, S], and their condition -> the correction [B, 3, S, S]."""
        if self.training:
            normalise_weights(self)
        condition = self.condition(level, fractions, known, survey)
        pair = torch.cat([images, drawn], dim=1)
        folded = functional.pixel_unshuffle(pair, self.shape.patch).to(fast_precision(images.device))
        folded = folded.contiguous(memory_format=torch.channels_last)
        features = self.inlet(torch.cat([folded, torch.ones_like(folded[:, :1])], dim=1))
        for block in self.blocks:
            features = block(features, condition)
        raw = self.outlet(torch.cat([features, self.gate(folded, condition)], dim=1))
        return functional.pixel_shuffle(raw.float() * self.gain, self.shape.patch)


class GalaxyUNet(nn.Module):
    """U-Net with skip connections between equal resolutions (Ronneberger et al. 2015; Ho et al. 2020)."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        folded, widths, embedding = 3 * settings.patch**2, settings.widths, settings.embedding
        self.condition = ConditionEmbedding(settings)
        self.inlet = UnitLayer(folded + 1, widths[0], 3)
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
        self.gate = Modulation(embedding, folded)
        self.outlet = UnitLayer(channels + folded, folded, 3)
        self.gain = nn.Parameter(torch.zeros(()))
        self.refiner = None if settings.refiner is None else Refiner(settings, settings.refiner)
        normalise_weights(self)

    def forward(self, images: Tensor, level: Tensor, fractions: Tensor, known: Tensor, survey: Tensor) -> Tensor:
        """[B, 3, S, S], [B], [B, A], [B, Q], [B] -> F [B, 3, S, S]."""
        if self.training:
            normalise_weights(self)
        condition = self.condition(level, fractions, known, survey)
        folded = functional.pixel_unshuffle(images, self.settings.patch).to(fast_precision(images.device))
        folded = folded.contiguous(memory_format=torch.channels_last)
        # The constant channel stands in for biases, which would not keep magnitudes.
        features = self.inlet(torch.cat([folded, torch.ones_like(folded[:, :1])], dim=1))
        skips: list[Tensor] = []
        levels, blocks = len(self.settings.widths), self.settings.blocks
        for depth in range(levels):
            if depth > 0:
                features = functional.avg_pool2d(features, 2)
            for block in self.down[depth * blocks : (depth + 1) * blocks]:
                features = block(features, condition)
                skips.append(features)
        features = self.middle(features, condition)
        for step in range(levels):
            if step > 0:
                features = functional.interpolate(features, scale_factor=2.0, mode="nearest")
            for block in self.up[step * blocks : (step + 1) * blocks]:
                features = block(torch.cat([features, skips.pop()], dim=1), condition)
        # How much of the noisy input belongs into the output depends on the noise level.
        raw = self.outlet(torch.cat([features, self.gate(folded, condition)], dim=1))
        return functional.pixel_shuffle(raw.float() * self.gain, self.settings.patch)
