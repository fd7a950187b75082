"""A tiny model with random weights: it runs every path of the code and draws no galaxy worth looking at."""

from pathlib import Path

import torch

from galaxysd.catalog.tree import DecisionTree
from galaxysd.diffusion.denoiser import GalaxyDenoiser
from galaxysd.diffusion.folder import ModelRecord, SamplingSettings, SurveyInfo, save_model
from galaxysd.diffusion.guidance import GuidanceSettings
from galaxysd.diffusion.network import NetworkSettings
from galaxysd.nn import ImageScale

SURVEYS = {"sdss": 0.4, "sdss-r90": None, "efigi": None}  # token -> arcsec per px

PLAIN = GuidanceSettings()

# What makes a built-in recipe fit for a test on the toy survey.
SMALL_RECIPE = (
    "network.widths=[16, 16]",
    "network.blocks=1",
    "network.embedding=16",
    "fit.batch=8",
    "fit.log_every=16",
    "fit.snapshot_every=32",
    "task.sheet=['toy, spiral galaxy', 'toy']",
)


def save_tiny_model(folder: Path, *, seed: int = 0, size: int = 16, guidance: GuidanceSettings = PLAIN) -> Path:
    """Write the model folder; another seed is another model."""
    tree = DecisionTree.load("gz2").union(DecisionTree.load("efigi"))
    network = NetworkSettings(
        size=size,
        patch=2,
        widths=(16, 16),
        blocks=1,
        embedding=16,
        answers=len(tree.columns),
        questions=len(tree.questions),
        surveys=len(SURVEYS),
    )
    scale = ImageScale()
    denoiser = GalaxyDenoiser(network, scale, tree, tuple(SURVEYS))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in denoiser.unet.parameters():  # all of them, or a fresh network would ignore its condition
            weight.normal_(0, 1, generator=generator)
    record = ModelRecord(
        tree=tree,
        surveys=tuple(SurveyInfo(token=token, size=size, pixel_scale=value) for token, value in SURVEYS.items()),
        scale=scale,
        sampling=SamplingSettings(steps=4, guidance=guidance),
        evidence=dict.fromkeys(tree.columns[:10], 500),
    )
    save_model(folder, denoiser, record, "a model for tests")
    return folder
