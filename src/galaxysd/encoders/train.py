"""From dataset folders to an encoder folder: the recipe that `galaxysd train --recipe encoder` follows.

Works as the generator's (diffusion/recipe.py): a run folder, exact resume, and RUN/model with the averaged weights
whenever the training stops. Only the `train` split is learned from. Nothing is withheld by default: no label is ever
seen here, and an encoder that is to judge dreams of a kind kept from the generator must have met that kind. Set
`data.withhold` to the generator's rules to test an encoder on kinds that it has not met either.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from galaxysd.data.dataset import Dataset
from galaxysd.diffusion.data import DataSettings, GalaxyPool
from galaxysd.encoders.checkpoint import save_encoder
from galaxysd.encoders.galaxyemb import EncoderNetwork, EncoderSettings
from galaxysd.encoders.simclr import ContrastiveModel, SimCLRSettings, SimCLRTask
from galaxysd.errors import InputError
from galaxysd.nn import ImageScale, normalise_weights
from galaxysd.runs import Run
from galaxysd.settings import FrozenModel, RecipeSettings
from galaxysd.training import checkpoint
from galaxysd.training.fit import Budget, FitSettings, fit

CALIBRATION = 2_048  # galaxies


class EncoderRecipe(RecipeSettings):
    """All that decides what a training does, except how long it takes."""

    folder: ClassVar[Path] = Path(__file__).parent / "recipes"

    name: str = "encoder"
    network: EncoderSettings = EncoderSettings()
    simclr: SimCLRSettings = SimCLRSettings()
    data: DataSettings = DataSettings()
    fit: FitSettings = FitSettings()
    images: int = Field(default=1_000_000, ge=1, description="images budget unless the command says otherwise")


class EncoderTraining(FrozenModel):
    """What makes two trainings the same: recipe and data."""

    recipe: EncoderRecipe
    datasets: tuple[str, ...] = Field(description="survey and hash of the inputs of each dataset")
    limit: int | None = None


def train_encoder(
    datasets: Sequence[str | Path],
    out: str | Path,
    *,
    recipe: EncoderRecipe,
    images: int | None = None,
    minutes: float | None = None,
    limit: int | None = None,
) -> dict[str, Any]:
    """Train an encoder on dataset folders, or go on with a training.

    Args:
        datasets: dataset folders, all with images of the same size.
        out: run folder.
        recipe: what to do.
        images: images to be seen in the end, default from the recipe; a finished run goes on if this is raised.
        minutes: stop after so many minutes; the same command continues.
        limit: use at most so many galaxies of each dataset (for trials).

    Returns:
        `run`, `model`, `images_seen`, `seconds`, `done`.

    Raises:
        InputError: the data or settings make no sense, or the run folder belongs to another training.
    """
    opened = [Dataset.open(folder) for folder in datasets]
    size, multiple = opened[0].info.size, recipe.network.multiple
    if size % multiple:
        raise InputError(f"{opened[0].folder}: images of {size} px; this encoder needs a multiple of {multiple}")
    inputs = tuple(f"{data.survey}:{data.info.inputs}" for data in opened)
    identity = EncoderTraining(recipe=recipe, datasets=inputs, limit=limit)
    run = Run.open(out, identity)
    total = images or recipe.images
    if run.summary is not None and run.summary["images_seen"] >= total:
        return {**run.summary, "already_done": True}
    pool = GalaxyPool(opened, "train", recipe.data, run.folder, limit=limit)
    held_out = GalaxyPool(opened, "val", recipe.data, run.folder, limit=limit)
    mean, spread = pool.statistics()
    torch.manual_seed(recipe.fit.seed)
    network = EncoderNetwork(recipe.network, ImageScale(mean=mean, spread=spread))
    model = ContrastiveModel(network, recipe.simclr.projection)
    task = SimCLRTask(model, recipe.simclr, held_out)
    result = fit(task, pool, recipe.fit, run, Budget(images=total, minutes=minutes))
    _export(run, identity, pool, model, size, result)
    summary = {"run": str(run.folder), "model": str(run.folder / "model"), **result}
    if result["done"]:
        run.finish(summary)
    return summary


def _export(
    run: Run, identity: EncoderTraining, pool: GalaxyPool, model: ContrastiveModel, size: int, result: dict[str, Any]
) -> None:
    """Write RUN/model from the averaged weights of the latest checkpoint."""
    from safetensors.torch import load_file

    last = checkpoint.latest(run.folder)
    assert last is not None  # fit always leaves one
    model.load_state_dict(load_file(last / "average.safetensors"))
    normalise_weights(model)  # an average of unit vectors is shorter than one
    network = model.encoder.eval()
    network.calibrate(pool.images(np.linspace(0, len(pool) - 1, min(CALIBRATION, len(pool))).astype(np.int64)))
    looks = [line for line in run.metrics() if "held_out" in line]
    names = {"held_out": "loss", "alignment": "alignment", "uniformity": "uniformity"}
    training = {
        "recipe": json.loads(identity.recipe.model_dump_json()),
        "data": pool.describe(),
        "data_hash": identity.content_hash(),
        "images_seen": result["images_seen"],
        "hours": round(result["seconds"] / 3600, 2),
        "held_out": {name: looks[-1][key] for key, name in names.items()} if looks else {},
    }
    save_encoder(run.folder / "model", network, name=identity.recipe.name, size=size, training=training)
