"""From dataset folders to a classifier folder: the recipe that `galaxysd train --recipe classifier` follows.

Works as the generator's (diffusion/recipe.py): a run folder, exact resume, and RUN/model whenever the training stops.
The `train` split is learned from, `val` chooses the temperature, and a finished training is measured on `test`:
RUN/report.json and RUN/report.html for classes, RUN/votes.json for votes.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field

from galaxysd.catalog.tree import DecisionTree
from galaxysd.classifiers.checkpoint import ClassifierRecord
from galaxysd.classifiers.class_rules import ClassRules
from galaxysd.classifiers.labels import labelled_examples
from galaxysd.classifiers.network import make_network
from galaxysd.classifiers.report import write_report
from galaxysd.classifiers.train import ClassifierSettings, averaged, continue_training
from galaxysd.classifiers.votes import Likelihood, VoteClassifier, VotePool, VoteTask, fraction_errors
from galaxysd.data.dataset import Dataset
from galaxysd.io import write_atomically
from galaxysd.runs import Run
from galaxysd.settings import FrozenModel, RecipeSettings
from galaxysd.training.fit import Budget, fit


class ClassifierRecipe(ClassifierSettings, RecipeSettings):
    """All that decides what a training does, except how long it takes."""

    folder: ClassVar[Path] = Path(__file__).parent / "recipes"

    name: str = "classifier"
    target: Literal["classes", "votes"] = Field(default="classes", description="hard classes by rules, or the votes")
    rules: str = Field(default="gz2", description="classes: built-in rules or a YAML file (class_rules.py)")
    likelihood: Likelihood = Field(default="dirichlet-multinomial", description="votes: of the counts of a question")


class VoteTraining(FrozenModel):
    """What makes two trainings on votes the same: recipe and data."""

    recipe: ClassifierRecipe
    datasets: tuple[str, ...] = Field(description="survey and hash of the inputs of each dataset")
    limit: int | None = None


def train_recipe(
    datasets: Sequence[str | Path],
    out: str | Path,
    *,
    recipe: ClassifierRecipe,
    images: int | None = None,
    minutes: float | None = None,
    limit: int | None = None,
) -> dict[str, Any]:
    """Train a classifier on dataset folders, or go on with a training.

    Args:
        datasets: dataset folders, all with images of the same size.
        out: run folder.
        recipe: what to do.
        images: images to be seen in the end, default from the recipe; a finished run goes on if this is raised.
        minutes: stop after so many minutes; the same command continues.
        limit: use at most so many galaxies of each dataset (for trials).

    Returns:
        `run`, `model`, `images_seen`, `seconds`, `done`; and when done, what was measured on the test galaxies.

    Raises:
        InputError: the data or settings make no sense, or the run folder belongs to another training.
    """
    opened = [Dataset.open(folder) for folder in datasets]
    learn = _train_classes if recipe.target == "classes" else _train_votes
    result = learn(opened, Path(out), recipe, images, minutes, limit)
    return {"run": str(out), "model": str(Path(out) / "model"), **result}


def _train_classes(
    datasets: Sequence[Dataset],
    out: Path,
    recipe: ClassifierRecipe,
    images: int | None,
    minutes: float | None,
    limit: int | None,
) -> dict[str, Any]:
    rules = ClassRules.load(recipe.rules)
    train, held_out, test = (
        labelled_examples(datasets, split, rules, limit=limit) for split in ("train", "val", "test")
    )
    settings = ClassifierSettings.model_validate(
        {name: getattr(recipe, name) for name in ClassifierSettings.model_fields}
    )
    about = {
        "recipe": recipe.name,
        "rules": rules.model_dump(mode="json"),
        "datasets": [f"{data.survey}:{data.info.inputs}" for data in datasets],
    }
    result, classifier = continue_training(
        train, held_out, rules.names, out, settings, images=images, minutes=minutes, about=about
    )
    if not result["done"]:
        return result
    scores = write_report(out, classifier, test, seed=recipe.fit.seed)
    measured = {name: one.value for name, one in scores.macro.items()}
    return {**result, "test": {"galaxies": len(test), "accuracy": scores.accuracy.value, **measured}}


def _train_votes(
    datasets: Sequence[Dataset],
    out: Path,
    recipe: ClassifierRecipe,
    images: int | None,
    minutes: float | None,
    limit: int | None,
) -> dict[str, Any]:
    inputs = tuple(f"{data.survey}:{data.info.inputs}" for data in datasets)
    run = Run.open(out, VoteTraining(recipe=recipe, datasets=inputs, limit=limit))
    total = recipe.images if images is None else images
    if run.summary is not None and run.summary["images_seen"] >= total:
        return {**run.summary, "already_done": True}
    pool, held_out = (VotePool(datasets, split, out / "pixels", limit=limit) for split in ("train", "val"))
    tree: DecisionTree = pool.pool.tree
    torch.manual_seed(recipe.fit.seed)
    network = make_network(recipe.network, len(tree.columns))
    task = VoteTask(network, tree, recipe.likelihood, held_out)
    result = fit(task, pool, recipe.fit, run, Budget(images=total, minutes=minutes))
    record = ClassifierRecord(
        target="votes",
        network=recipe.network,
        outputs=tree.columns,
        size=datasets[0].info.size,
        tree=tree,
        training={
            "recipe": json.loads(recipe.model_dump_json()),
            "data": pool.pool.describe(),
            "images_seen": result["images_seen"],
        },
    )
    classifier = VoteClassifier(averaged(network, run), record)
    classifier.save(out / "model")
    if result["done"]:
        errors = fraction_errors(classifier, VotePool(datasets, "test", out / "pixels", limit=limit))
        write_atomically(out / "votes.json", json.dumps(errors, indent=2) + "\n")
        result = {**result, "test": errors}
        run.finish(result)
    return result
