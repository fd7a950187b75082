"""A tiny model with random weights: it runs every path of the code and draws no galaxy worth looking at."""

from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from galaxysd.catalog.tree import DecisionTree
from galaxysd.diffusion.autoencoder import Autoencoder, AutoencoderSettings
from galaxysd.diffusion.denoiser import GalaxyDenoiser
from galaxysd.diffusion.folder import ModelRecord, SamplingSettings, SurveyInfo, save_model
from galaxysd.diffusion.grain import GrainNetwork, GrainSettings
from galaxysd.diffusion.guidance import GuidanceSettings
from galaxysd.diffusion.network import NetworkSettings

SURVEYS = {"sdss": 0.4, "sdss-r90": None, "efigi": None}  # token -> arcsec per px

PLAIN = GuidanceSettings()

N = TypeVar("N", bound=nn.Module)

# What makes a built-in recipe fit for a test on the toy survey.
SMALL_FIT = ("fit.batch=8", "fit.warmup=16", "fit.log_every=16", "fit.snapshot_every=32")
SMALL_RECIPE = (
    *SMALL_FIT,
    "network.widths=[16, 16]",
    "network.blocks=1",
    "network.embedding=16",
    "task.sheet=['toy, spiral galaxy', 'toy']",
)
SMALL_AUTOENCODER = (*SMALL_FIT, "network.size=16", "network.widths=[8, 8]", "network.last=8")
SMALL_GRAIN = (*SMALL_FIT, "network.width=8", "network.blocks=1", "network.steps=2", "task.crop=8")


def tiny_autoencoder(size: int = 16, *, seed: int = 0) -> Autoencoder:
    """Latents of 4 channels; its images fill the range of an 8-bit pixel."""
    autoencoder = Autoencoder(AutoencoderSettings(size=size, channels=4, widths=(8, 8), last=8))
    _randomised(autoencoder, 1.5, seed).eval()
    with torch.no_grad():
        latents = torch.randn((16, 4, size // 4, size // 4), generator=torch.Generator().manual_seed(seed))
        last = autoencoder.decoder[-1]
        last.weight *= 0.3 / autoencoder.decode(0.3 * latents).std()  # grey levels, neither one nor two
        last.bias.zero_()
    return autoencoder


def tiny_grain(*, seed: int = 0, blocks: int = 1, surveys: int = len(SURVEYS)) -> GrainNetwork:
    """A grain stage whose every weight matters."""
    settings = GrainSettings(width=8, blocks=blocks, steps=2, surveys=surveys, spread=0.05)
    return _randomised(GrainNetwork(settings), 1.0, seed).eval()


def _randomised(network: N, gain: float, seed: int) -> N:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            fan_in = weight[0].numel() if weight.ndim > 1 else 100
            weight.normal_(0, gain * fan_in**-0.5, generator=generator)
    return network


def tiny_denoiser(size: int = 16, *, seed: int = 0) -> GalaxyDenoiser:
    """The latent flow for images of `size` px."""
    tree = DecisionTree.load("gz2").union(DecisionTree.load("efigi"))
    network = NetworkSettings(
        size=size // 4,
        channels=4,
        widths=(16, 16),
        blocks=1,
        embedding=16,
        answers=len(tree.columns),
        questions=len(tree.questions),
        surveys=len(SURVEYS),
    )
    denoiser = GalaxyDenoiser(network, 1.0, tree, tuple(SURVEYS))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in denoiser.unet.parameters():  # all of them, or a fresh network would ignore its condition
            if weight.ndim:
                weight.normal_(0, 1, generator=generator)
            else:
                weight.fill_(0.5)
    return denoiser.eval()


def save_tiny_model(folder: Path, *, seed: int = 0, size: int = 16, guidance: GuidanceSettings = PLAIN) -> Path:
    """Write the model folder; another seed is another model."""
    denoiser = tiny_denoiser(size, seed=seed)
    tree = denoiser.tree
    record = ModelRecord(
        tree=tree,
        surveys=tuple(SurveyInfo(token=token, size=size, pixel_scale=value) for token, value in SURVEYS.items()),
        sampling=SamplingSettings(steps=4, guidance=guidance),
        evidence=dict.fromkeys(tree.columns[:10], 500),
    )
    save_model(
        folder,
        record,
        "a model for tests",
        autoencoder=tiny_autoencoder(size, seed=seed),
        denoiser=denoiser,
        grain=tiny_grain(seed=seed),
    )
    return folder
