"""From dataset folders to a model folder: the recipes that `galaxysd train` follows for the three parts of a generator.

    mini-autoencoder   images -> latents and back             RUN/model holds an autoencoder alone
    mini               the latent flow on an autoencoder      RUN/model generates (with the grain stage it started from)
    mini-grain         the grain stage of a generator         RUN/model is that generator with its grain

A recipe is a YAML file (`recipes/*.yaml`) of frozen settings. Training works in a run folder, can be stopped and
continued at will, and leaves RUN/model, with the averaged weights, whenever it stops.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import torch
import yaml
from pydantic import Field
from safetensors.torch import load_file
from torch import Tensor

from galaxysd.diffusion.autoencoder import Autoencoder, AutoencoderSettings
from galaxysd.diffusion.autoencoder_task import AutoencoderTask, AutoencoderTaskSettings, FeatureMaps
from galaxysd.diffusion.card import model_card
from galaxysd.diffusion.data import DataSettings, GalaxyPool
from galaxysd.diffusion.denoiser import GalaxyDenoiser
from galaxysd.diffusion.flow_task import FlowTask, TaskSettings
from galaxysd.diffusion.folder import (
    GRAIN,
    Model,
    ModelRecord,
    SamplingSettings,
    SurveyInfo,
    load_autoencoder,
    load_model,
    save_model,
)
from galaxysd.diffusion.grain import GrainNetwork, GrainSettings
from galaxysd.diffusion.grain_task import GrainData, GrainTask, GrainTaskSettings
from galaxysd.diffusion.latents import LatentPool
from galaxysd.diffusion.network import NetworkSettings
from galaxysd.errors import InputError
from galaxysd.io import read_json
from galaxysd.nn import normalise_weights
from galaxysd.runs import Run
from galaxysd.settings import RecipeSettings, Settings
from galaxysd.training import checkpoint
from galaxysd.training.fit import Budget, Data, FitSettings, Task, fit, join

if TYPE_CHECKING:
    from galaxysd.data.dataset import Dataset


MOST_IMAGES = 2**53


class NetworkShape(Settings):
    """The part of `NetworkSettings` that a recipe chooses; the data and the autoencoder decide the rest."""

    widths: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(128, 192, 256), min_length=1)
    blocks: int = Field(default=2, ge=1)
    attention_from: int = Field(default=1, ge=0)
    embedding: int = Field(default=256, ge=8)


class GrainShape(Settings):
    """The part of `GrainSettings` that a recipe chooses; the spread is measured."""

    width: int = Field(default=48, ge=1)
    blocks: int = Field(default=4, ge=1)
    steps: int = Field(default=4, ge=1, le=100)


class Recipe(RecipeSettings):
    """The latent flow: all that decides what a training does, except how long it takes."""

    folder: ClassVar[Path] = Path(__file__).parent / "recipes"

    kind: Literal["generator"] = "generator"
    name: str = "mini"
    network: NetworkShape = NetworkShape()
    task: TaskSettings = TaskSettings()
    data: DataSettings = DataSettings()
    fit: FitSettings = FitSettings()
    sampling: SamplingSettings = SamplingSettings()
    images: int = Field(default=1_000_000, ge=1, description="images budget unless the command says otherwise")


class AutoencoderRecipe(RecipeSettings):
    """The autoencoder: the same for its training."""

    folder: ClassVar[Path] = Path(__file__).parent / "recipes"

    kind: Literal["autoencoder"] = "autoencoder"
    name: str = "mini-autoencoder"
    network: AutoencoderSettings = AutoencoderSettings()
    task: AutoencoderTaskSettings = AutoencoderTaskSettings()
    data: DataSettings = DataSettings()
    fit: FitSettings = FitSettings()
    images: int = Field(default=50_000, ge=1, description="images budget unless the command says otherwise")


class GrainRecipe(RecipeSettings):
    """The grain stage: the same for its training."""

    folder: ClassVar[Path] = Path(__file__).parent / "recipes"

    kind: Literal["grain"] = "grain"
    name: str = "mini-grain"
    network: GrainShape = GrainShape()
    task: GrainTaskSettings = GrainTaskSettings()
    data: DataSettings = DataSettings()
    fit: FitSettings = FitSettings()
    images: int = Field(default=150_000, ge=1, description="crops budget unless the command says otherwise")


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe | AutoencoderRecipe | GrainRecipe:
    """A recipe of any of the three parts, told apart by its `kind`; arguments as in `RecipeSettings.load`.

    Raises:
        InputError: no such recipe or kind, or an override that does not fit.
    """
    kinds: dict[str, type[Recipe | AutoencoderRecipe | GrainRecipe]] = {
        "generator": Recipe,
        "autoencoder": AutoencoderRecipe,
        "grain": GrainRecipe,
    }
    path = Recipe.folder / f"{name_or_path}.yaml"
    path = path if path.is_file() else Path(name_or_path)
    values: Any = {}
    if path.is_file():
        with suppress(OSError, UnicodeDecodeError, yaml.YAMLError):  # `load` says what is wrong
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
    kind = values.get("kind", "generator") if isinstance(values, dict) else "generator"
    if not isinstance(kind, str) or kind not in kinds:
        raise InputError(f"{path}: kind {kind!r} is not one of {', '.join(kinds)}")
    return kinds[kind].load(name_or_path, overrides)


class TrainingIdentity(Settings):
    """What makes two trainings the same: recipe and data."""

    recipe: Recipe | AutoencoderRecipe | GrainRecipe = Field(discriminator="kind")
    datasets: tuple[str, ...] = Field(description="survey and hash of the inputs of each dataset")
    limit: int | None = None
    start: str | None = Field(default=None, description="hash of the model that training starts from; null: random")
    autoencoder: str | None = Field(default=None, description="hash of the weights of the autoencoder in use")
    features: str | None = Field(default=None, description="hash of the vision network that looks on; null: none")


def open_datasets(folders: Sequence[str | Path]) -> "list[Dataset]":
    """The datasets of a training.

    Raises:
        InputError: there is none, or a folder is not a whole dataset.
    """
    from galaxysd.data.dataset import Dataset

    if not folders:
        raise InputError("train needs at least one dataset (--data)")
    return [Dataset.open(folder) for folder in folders]


class _Training:
    """What the three trainings share: datasets, pools, run folder, processes."""

    def __init__(
        self,
        datasets: Sequence[str | Path],
        out: str | Path,
        recipe: Recipe | AutoencoderRecipe | GrainRecipe,
        *,
        images: int | None,
        minutes: float | None,
        limit: int | None,
        size: int,
        start: str | None = None,
        autoencoder: str | None = None,
        features: str | None = None,
    ) -> None:
        self.accelerator = join()
        self.recipe = recipe
        self.datasets = open_datasets(datasets)
        if other := sorted({data.info.size for data in self.datasets} - {size}):
            raise InputError(
                f"the datasets have images of {other[0]} px, the autoencoder reads {size} px; "
                f"build the datasets with --size {size}"
            )
        self.identity = TrainingIdentity(
            recipe=recipe,
            datasets=tuple(f"{data.survey} {data.info.inputs}" for data in self.datasets),
            limit=limit,
            start=start,
            autoencoder=autoencoder,
            features=features,
        )
        by_clock = minutes is not None and images is None  # then only the clock ends the training
        budget = {
            "images": MOST_IMAGES if by_clock else recipe.images if images is None else images,
            "minutes": minutes,
        }
        self.budget = Budget.parse(budget, "train")
        folder = Path(out)
        with self.accelerator.main_process_first():  # one writes, the others find it
            self.run = Run.open(folder, self.identity)
            self.pool = GalaxyPool(self.datasets, "train", recipe.data, folder, limit=limit)
            self.held_out = GalaxyPool(self.datasets, "val", recipe.data, folder, limit=limit)
        torch.manual_seed(recipe.fit.seed)

    def finished(self) -> dict[str, Any] | None:
        """The summary of a run that is done and was not asked for more."""
        done = self.run.folder / "done.json"
        if not done.is_file():
            return None
        summary = read_json(done)
        seen = summary.get("images_seen")
        if not isinstance(seen, int):
            raise InputError(f"{done}: is damaged; delete it, and the same command goes on")
        return summary if seen >= self.budget.images or self.budget.minutes is not None else None

    def go(self, task: Task, data: Data, export: Callable[[Path, dict[str, Any]], None]) -> dict[str, Any]:
        """Train, then let the first process write RUN/model."""
        result = fit(task, data, self.recipe.fit, self.run, self.budget)
        summary = {"run": str(self.run.folder), "model": str(self.run.folder / "model"), **result}
        if self.accelerator.is_main_process:
            task.model.load_state_dict(_averaged(self.run))
            normalise_weights(task.model)  # an average of unit vectors is shorter than one
            task.model.eval()
            export(self.run.folder / "model", result)
            if result["done"]:
                self.run.finish(summary)
        self.accelerator.wait_for_everyone()
        return summary

    def report(self, result: dict[str, Any]) -> dict[str, Any]:
        """What the record of the model says of this stage."""
        held_out = [line for line in self.run.metrics() if "held_out" in line]
        return {
            "recipe": json.loads(self.recipe.model_dump_json()),
            "data": self.pool.describe(),
            "data_hash": self.identity.content_hash(),
            "start": self.identity.start,
            "features": self.identity.features,
            "processes": self.accelerator.num_processes,
            "images_seen": result["images_seen"],
            "hours": round(result["seconds"] / 3600, 2),
            "held_out_loss": held_out[-1]["held_out"] if held_out else None,
        }

    def record(self, sampling: SamplingSettings, training: dict[str, Any]) -> ModelRecord:
        """The record of a model of these data."""
        scales = {data.survey: data.info.pixel_scale for data in reversed(self.datasets)}
        surveys = tuple(
            SurveyInfo(token=name, size=self.pool.size, pixel_scale=scales[name]) for name in self.pool.surveys
        )
        return ModelRecord(
            tree=self.pool.tree,
            surveys=surveys,
            sampling=sampling,
            evidence=self.pool.evidence(),
            evidence_by_survey=self.pool.evidence_by_survey(),
            training=training,
        )


def _averaged(run: Run) -> dict[str, Tensor]:
    """The averaged weights of the latest checkpoint."""
    last = checkpoint.latest(run.folder)
    assert last is not None  # fit always leaves one
    return load_file(last / "average.safetensors")


def train(
    datasets: Sequence[str | Path],
    out: str | Path,
    *,
    recipe: Recipe,
    images: int | None = None,
    minutes: float | None = None,
    limit: int | None = None,
    start: str | Path | None = None,
    autoencoder: str | Path = "mini",
) -> dict[str, Any]:
    """Train a latent flow on dataset folders, or go on with a training.

    Args:
        datasets: dataset folders (`galaxysd catalog build`), all with images of the size that the autoencoder reads.
        out: run folder.
        recipe: what to do.
        images: images to be seen in the end, default from the recipe; a finished run goes on if this is raised.
        minutes: lay the training out by the clock, to end after so many minutes.
        limit: use at most so many galaxies of each dataset (for trials).
        start: a model to go on from (fine-tuning), with its autoencoder; its network, tree and surveys must be those
            of this training.
        autoencoder: a model folder or name whose autoencoder, and grain stage if it fits, are used.

    Returns:
        `run`, `model`, `images_seen`, `seconds`, `done`.

    Raises:
        InputError: the data or settings make no sense, or the run folder belongs to another training.
    """
    cpu = torch.device("cpu")
    earlier = None if start is None else load_model(start, cpu)
    encoder, encoder_record, weights = load_autoencoder(autoencoder if start is None else start, cpu)
    _network(recipe, encoder, answers=1, questions=1, surveys=1)  # what cannot be built is refused before any work
    training = _Training(
        datasets,
        out,
        recipe,
        images=images,
        minutes=minutes,
        limit=limit,
        size=encoder.settings.size,
        start=None if earlier is None else earlier.hash,
        autoencoder=weights,
    )
    if (summary := training.finished()) is not None:
        return summary
    pool = training.pool
    encoder.to(training.accelerator.device).requires_grad_(False)
    with training.accelerator.main_process_first():
        latents = LatentPool(pool, encoder, weights, training.run.folder / "latents.bin")
    answers, questions = len(pool.tree.columns), len(pool.tree.questions)
    network = _network(recipe, encoder, answers=answers, questions=questions, surveys=len(pool.surveys))
    denoiser = GalaxyDenoiser(network, latents.spread(), pool.tree, pool.surveys)
    if earlier is not None:
        _adopt(denoiser, earlier.denoiser, str(start))
    task = FlowTask(denoiser, encoder, recipe.task, training.held_out)
    grain = _grain_of(autoencoder if start is None else start, encoder_record, pool.surveys)
    kept = ("autoencoder",) if grain is None else ("autoencoder", "grain")

    def export(folder: Path, result: dict[str, Any]) -> None:
        stages = {key: value for key, value in encoder_record.training.items() if key in kept}
        stages["generator"] = training.report(result)
        if earlier is not None:
            stages["generator"]["earlier"] = earlier.record.training.get("generator")
        record = training.record(recipe.sampling, stages)
        save_model(folder, record, model_card(record, recipe.name), autoencoder=encoder, denoiser=denoiser, grain=grain)

    return training.go(task, latents, export)


def _network(recipe: Recipe, autoencoder: Autoencoder, **counts: int) -> NetworkSettings:
    """The shape of a network that draws the latents of an autoencoder."""
    latents = {"size": autoencoder.settings.latent_size, "channels": autoencoder.settings.channels}
    return NetworkSettings.parse({**latents, **counts, **recipe.network.model_dump()}, "network")


def _grain_of(model: str | Path, record: ModelRecord, surveys: tuple[str, ...]) -> GrainNetwork | None:
    """The grain stage of a model, if it has one that knows the same surveys."""
    if GRAIN not in record.sha256 or tuple(survey.token for survey in record.surveys) != surveys:
        return None
    return load_model(model, torch.device("cpu")).grain


def _adopt(denoiser: GalaxyDenoiser, earlier: GalaxyDenoiser, name: str) -> None:
    """Take over the weights and the spread of an earlier model."""
    same = (
        denoiser.unet.settings == earlier.unet.settings
        and denoiser.tree.columns == earlier.tree.columns
        and denoiser.surveys == earlier.surveys
    )
    if not same:
        raise InputError(f"{name}: has another network, tree or surveys than this training; start from random weights")
    denoiser.load_state_dict(earlier.state_dict())
    denoiser.spread = earlier.spread


def train_autoencoder(
    datasets: Sequence[str | Path],
    out: str | Path,
    *,
    recipe: AutoencoderRecipe,
    images: int | None = None,
    minutes: float | None = None,
    limit: int | None = None,
    features: FeatureMaps | None = None,
) -> dict[str, Any]:
    """Train an autoencoder on dataset folders, or go on with a training; arguments as in `train`.

    Args:
        features: the vision network of the perceptual term; none: absolute error and critic alone.
        datasets, out, recipe, images, minutes, limit: as in `train`.
    """
    training = _Training(
        datasets,
        out,
        recipe,
        images=images,
        minutes=minutes,
        limit=limit,
        size=recipe.network.size,
        features=None if features is None else features.hash,
    )
    if (summary := training.finished()) is not None:
        return summary
    autoencoder = Autoencoder(recipe.network)
    task = AutoencoderTask(autoencoder, recipe.task, training.held_out, features)

    def export(folder: Path, result: dict[str, Any]) -> None:
        task.measure_latents(training.pool)
        record = training.record(SamplingSettings(), {"autoencoder": training.report(result)})
        save_model(folder, record, model_card(record, recipe.name), autoencoder=autoencoder)

    return training.go(task, training.pool, export)


def train_grain(
    datasets: Sequence[str | Path],
    out: str | Path,
    *,
    recipe: GrainRecipe,
    start: str | Path = "mini",
    images: int | None = None,
    minutes: float | None = None,
    limit: int | None = None,
) -> dict[str, Any]:
    """Train the grain stage of a generator, or go on with a training; arguments as in `train`.

    Args:
        start: the generator; its other parts stay as they are.
        datasets, out, recipe, images, minutes, limit: as in `train`.
    """
    model: Model = load_model(start, torch.device("cpu"))
    training = _Training(
        datasets,
        out,
        recipe,
        images=images,
        minutes=minutes,
        limit=limit,
        size=model.autoencoder.settings.size,
        start=model.hash,
    )
    if (summary := training.finished()) is not None:
        return summary
    if training.pool.surveys != model.denoiser.surveys:
        raise InputError(
            f"{start}: knows the surveys {', '.join(model.denoiser.surveys)}, the datasets are of "
            f"{', '.join(training.pool.surveys)}; give the same datasets in the same order"
        )
    model.autoencoder.to(training.accelerator.device)
    with training.accelerator.main_process_first():
        data = GrainData(training.pool, model.autoencoder, training.run.folder / "decoded.bin")
    measured = {"spread": data.spread(), "surveys": len(training.pool.surveys)}
    shape = GrainSettings.parse(measured | recipe.network.model_dump(), "network")
    grain = GrainNetwork(shape)
    task = GrainTask(grain, model.autoencoder, recipe.task, training.held_out)

    def export(folder: Path, result: dict[str, Any]) -> None:
        record = model.record.model_copy(
            update={"training": {**model.record.training, "grain": training.report(result)}}
        )
        card = model_card(record, "mini")
        save_model(folder, record, card, autoencoder=model.autoencoder, denoiser=model.denoiser, grain=grain)

    return training.go(task, data, export)
