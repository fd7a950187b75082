"""From dataset folders to a model folder: the recipe that `galaxysd train` follows.

A recipe is a YAML file (`recipes/mini.yaml`) of frozen settings. Training works in a run folder, can be stopped and
continued at will, and leaves RUN/model, a model folder with the averaged weights, whenever it stops.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from safetensors.torch import load_file
from torch import Tensor, nn

from galaxysd.data.dataset import Dataset
from galaxysd.diffusion.card import model_card
from galaxysd.diffusion.data import DataSettings, GalaxyPool
from galaxysd.diffusion.denoiser import GalaxyDenoiser, ImageScale
from galaxysd.diffusion.folder import Model, ModelRecord, SamplingSettings, SurveyInfo, load_model, save_model
from galaxysd.diffusion.network import NetworkSettings, RefinerSettings, normalise_weights
from galaxysd.diffusion.perceptual import FeatureMaps, PerceptualSettings
from galaxysd.diffusion.task import FlowMatchingTask, TaskSettings
from galaxysd.errors import InputError
from galaxysd.runs import Run
from galaxysd.settings import RecipeSettings, Settings
from galaxysd.training import checkpoint
from galaxysd.training.fit import Budget, FitSettings, fit


class NetworkShape(Settings):
    """The part of `NetworkSettings` that a recipe chooses; the data decide the rest."""

    patch: int = Field(default=4, ge=1)
    widths: tuple[int, ...] = Field(default=(64, 128, 256), min_length=1)
    blocks: int = Field(default=2, ge=1)
    attention_from: int = Field(default=1, ge=0)
    embedding: int = Field(default=256, ge=8)
    refiner: RefinerSettings | None = None


class Recipe(RecipeSettings):
    """All that decides what a training does, except how long it takes."""

    folder: ClassVar[Path] = Path(__file__).parent / "recipes"

    name: str = "mini"
    network: NetworkShape = NetworkShape()
    refiner_alone: bool = Field(
        default=False, description="only the refiner learns; all else stays as in the model that training starts from"
    )
    task: TaskSettings = TaskSettings()
    data: DataSettings = DataSettings()
    fit: FitSettings = FitSettings()
    perceptual: PerceptualSettings | None = Field(default=None, description="null: squared error alone")
    sampling: SamplingSettings = SamplingSettings()
    images: int = Field(default=1_000_000, ge=1, description="images budget unless the command says otherwise")


class TrainingIdentity(Settings):
    """What makes two trainings the same: recipe and data."""

    recipe: Recipe
    datasets: tuple[str, ...] = Field(description="survey and hash of the inputs of each dataset")
    limit: int | None = None
    start: str | None = Field(default=None, description="hash of the model that training starts from; null: random")
    guide: str | None = Field(default=None, description="hash of the model that is to guide this one; null: none")
    features: str | None = Field(default=None, description="hash of the vision network that looks on; null: none")


def train(
    datasets: Sequence[str | Path],
    out: str | Path,
    *,
    recipe: Recipe,
    images: int | None = None,
    minutes: float | None = None,
    limit: int | None = None,
    start: str | Path | None = None,
    guide: str | Path | None = None,
    features: FeatureMaps | None = None,
) -> dict[str, Any]:
    """Train a generator on dataset folders, or go on with a training.

    Args:
        datasets: dataset folders (`galaxysd catalog build`), all with images of the same size.
        out: run folder.
        recipe: what to do.
        images: images to be seen in the end, default from the recipe; a finished run goes on if this is raised.
        minutes: stop after so many minutes; the same command continues.
        limit: use at most so many galaxies of each dataset (for trials).
        start: a model to go on from (fine-tuning); its network, tree and surveys must be those of this training.
            Its guide and its refiner are kept.
        guide: a smaller or less trained model of the same data, for autoguidance (guidance.py).
        features: the vision network of a perceptual recipe.

    Returns:
        `run`, `model`, `images_seen`, `seconds`, `done`.

    Raises:
        InputError: the data or settings make no sense, or the run folder belongs to another training.
    """
    if (recipe.perceptual is None) != (features is None):
        wanted = "needs" if features is None else "has no use for"
        raise InputError(f"recipe {recipe.name!r} {wanted} a vision network (--features)")
    opened = [Dataset.open(folder) for folder in datasets]
    earlier = None if start is None else load_model(start, torch.device("cpu"))
    guiding = None if guide is None else load_model(guide, torch.device("cpu"))
    identity = TrainingIdentity(
        recipe=recipe,
        datasets=tuple(f"{data.survey}:{data.info.inputs}" for data in opened),
        limit=limit,
        start=None if earlier is None else earlier.hash,
        guide=None if guiding is None else guiding.hash,
        features=None if features is None else features.hash,
    )
    run = Run.open(out, identity)
    total = images or recipe.images
    if run.summary is not None and run.summary["images_seen"] >= total:
        return {**run.summary, "already_done": True}
    pool = GalaxyPool(opened, "train", recipe.data, run.folder, limit=limit)
    held_out = GalaxyPool(opened, "val", recipe.data, run.folder, limit=limit)
    mean, spread = pool.statistics()
    shape = {
        "size": opened[0].info.size,
        "answers": len(pool.tree.columns),
        "questions": len(pool.tree.questions),
        "surveys": len(pool.surveys),
        **recipe.network.model_dump(),
    }
    if earlier is not None and recipe.network.refiner is None:
        shape["refiner"] = earlier.denoiser.unet.settings.refiner
    network = NetworkSettings.parse(shape, "network")
    torch.manual_seed(recipe.fit.seed)
    denoiser = GalaxyDenoiser(network, ImageScale(mean=mean, spread=spread), pool.tree, pool.surveys)
    if earlier is not None:
        _adopt(denoiser, earlier.denoiser, str(start))
    learning: nn.Module = denoiser
    if recipe.refiner_alone:
        if denoiser.unet.refiner is None or earlier is None:
            raise InputError(f"recipe {recipe.name!r} trains a refiner: it needs network.refiner and a model (--from)")
        learning = denoiser.unet.refiner
        denoiser.eval().requires_grad_(False)
        learning.train().requires_grad_(True)
    weaker = guiding.denoiser if guiding is not None else None if earlier is None else earlier.guide
    if weaker is not None and not weaker.speaks_like(denoiser):
        raise InputError(f"{guide or start}: its guide has another tree, image scale or surveys than this training")
    perceptual = None if recipe.perceptual is None or features is None else (recipe.perceptual, features)
    task = FlowMatchingTask(denoiser, recipe.task, held_out, perceptual)
    budget = Budget(images=total, minutes=minutes)
    result = fit(task, pool, recipe.fit, run, budget)
    denoiser.load_state_dict(_averaged(run))
    normalise_weights(learning)  # an average of unit vectors is shorter than one
    _export(run, identity, opened, pool, denoiser, result, earlier, guiding)
    summary = {"run": str(run.folder), "model": str(run.folder / "model"), **result}
    if result["done"]:
        run.finish(summary)
    return summary


def _adopt(denoiser: GalaxyDenoiser, earlier: GalaxyDenoiser, name: str) -> None:
    """Take over the weights and the image scale of an earlier model; a refiner may be new."""
    settings = denoiser.unet.settings
    new = settings.refiner is not None and earlier.unet.refiner is None
    if new:
        settings = settings.model_copy(update={"refiner": None})
    same = (
        settings == earlier.unet.settings
        and denoiser.tree.columns == earlier.tree.columns
        and denoiser.surveys == earlier.surveys
    )
    if not same:
        raise InputError(f"{name}: has another network, tree or surveys than this training; start from random weights")
    denoiser.load_state_dict(earlier.state_dict(), strict=not new)
    denoiser.scale = earlier.scale


def _averaged(run: Run) -> dict[str, Tensor]:
    """The averaged weights of the latest checkpoint."""
    last = checkpoint.latest(run.folder)
    assert last is not None  # fit always leaves one
    return load_file(last / "average.safetensors")


def _export(
    run: Run,
    identity: TrainingIdentity,
    datasets: Sequence[Dataset],
    pool: GalaxyPool,
    denoiser: GalaxyDenoiser,
    result: dict[str, Any],
    earlier: Model | None,
    guiding: Model | None,
) -> None:
    """Write RUN/model."""
    scales = {data.survey: data.info.pixel_scale for data in reversed(datasets)}
    size = denoiser.unet.settings.size
    held_out = [line for line in run.metrics() if "held_out" in line]
    guide, guide_training = None, None
    if guiding is not None:
        guide, guide_training = guiding.denoiser, {"model": guiding.hash, "training": guiding.record.training}
    elif earlier is not None:
        guide, guide_training = earlier.guide, earlier.record.training.get("guide")
    record = ModelRecord(
        tree=pool.tree,
        surveys=tuple(SurveyInfo(token=name, size=size, pixel_scale=scales[name]) for name in pool.surveys),
        scale=denoiser.scale,
        sampling=identity.recipe.sampling,
        evidence=pool.evidence(),
        training={
            "recipe": json.loads(identity.recipe.model_dump_json()),
            "data": pool.describe(),
            "data_hash": identity.content_hash(),
            "guide": guide_training,
            "features": identity.features,
            "earlier": None if earlier is None else {"model": identity.start, "training": earlier.record.training},
            "images_seen": result["images_seen"],
            "hours": round(result["seconds"] / 3600, 2),
            "held_out_loss": held_out[-1]["held_out"] if held_out else None,
        },
    )
    save_model(run.folder / "model", denoiser, record, model_card(record, identity.recipe.name), guide=guide)
