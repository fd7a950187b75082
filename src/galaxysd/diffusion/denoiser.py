"""The denoiser D(x_s, s, condition) of latents: the network, its scaling, its tree and its surveys.

Samplers, losses and networks meet only here. Latents go in and out as float32 [B, C, h, w].
"""

from torch import Tensor, nn

from galaxysd.catalog.tree import DecisionTree
from galaxysd.diffusion import flow
from galaxysd.diffusion.condition import Condition, answers_of
from galaxysd.diffusion.network import GalaxyUNet, NetworkSettings


class GalaxyDenoiser(nn.Module):
    """A network that knows its tree, its survey tokens and the spread of its latents.

    Attributes:
        unet: the network.
        spread: d of flow.py, the mean deviation of a latent value between galaxies.
        tree: decision tree of the conditions.
        surveys: survey tokens, in the order of the network's input.
        answers_of: [A] index of the question of each answer.
    """

    answers_of: Tensor

    def __init__(self, network: NetworkSettings, spread: float, tree: DecisionTree, surveys: tuple[str, ...]) -> None:
        super().__init__()
        self.unet = GalaxyUNet(network)
        self.spread, self.tree, self.surveys = spread, tree, surveys
        self.register_buffer("answers_of", answers_of(tree), persistent=False)

    def forward(self, noisy: Tensor, level: Tensor, condition: Condition) -> Tensor:
        """x_s [B, C, h, w], s [B] -> the expected clean latents [B, C, h, w] (flow.py)."""
        scaled = flow.input_scale(level, self.spread) * noisy
        raw: Tensor = self.unet(scaled, level, condition.fractions, condition.known, condition.survey)
        return self.spread * raw
