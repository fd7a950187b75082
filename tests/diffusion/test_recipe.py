"""From a toy survey to a model folder: three trainings end to end, exact resume, and what is refused."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_model import SMALL_AUTOENCODER, SMALL_GRAIN, SMALL_RECIPE, save_tiny_model
from torch import Tensor

from galaxysd.diffusion.autoencoder_task import AutoencoderTask
from galaxysd.diffusion.flow_task import FlowTask
from galaxysd.diffusion.folder import AUTOENCODER, DENOISER, GRAIN, load_autoencoder, load_model
from galaxysd.diffusion.grain_task import GrainTask
from galaxysd.diffusion.pipeline import GalaxyPipeline
from galaxysd.diffusion.recipe import (
    AutoencoderRecipe,
    GrainRecipe,
    Recipe,
    train,
    train_autoencoder,
    train_grain,
)
from galaxysd.errors import InputError

CPU = torch.device("cpu")


def small(*more: str) -> Recipe:
    return Recipe.load("mini", (*SMALL_RECIPE, *more))


def small_autoencoder(*more: str) -> AutoencoderRecipe:
    return AutoencoderRecipe.load("mini-autoencoder", (*SMALL_AUTOENCODER, *more))


def small_grain(*more: str) -> GrainRecipe:
    return GrainRecipe.load("mini-grain", (*SMALL_GRAIN, *more))


@pytest.fixture(scope="module")
def made(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs `autoencoder`, `flow` and `grain`, each on what the one before left."""
    folder = tmp_path_factory.mktemp("made")
    train_autoencoder([toy], folder / "autoencoder", recipe=small_autoencoder(), images=96)
    train([toy], folder / "flow", recipe=small(), images=96, autoencoder=folder / "autoencoder" / "model")
    train_grain([toy], folder / "grain", recipe=small_grain(), images=96, start=folder / "flow" / "model")
    return folder


def stage(made: Path, toy: Path, name: str) -> tuple[Callable[..., dict[str, Any]], type, str]:
    """How a stage is trained, its task, and the file of its weights."""
    if name == "autoencoder":
        return (
            lambda out, **more: train_autoencoder([toy], out, recipe=small_autoencoder(), **more),
            AutoencoderTask,
            AUTOENCODER,
        )
    if name == "flow":
        encoder = made / "autoencoder" / "model"
        return lambda out, **more: train([toy], out, recipe=small(), autoencoder=encoder, **more), FlowTask, DENOISER
    start = made / "flow" / "model"
    return lambda out, **more: train_grain([toy], out, recipe=small_grain(), start=start, **more), GrainTask, GRAIN


def test_three_trainings_make_a_generator(made: Path) -> None:
    for name in ("autoencoder", "flow", "grain"):
        summary = json.loads((made / name / "done.json").read_text())
        assert summary["done"] and summary["images_seen"] == 96
        assert (made / name / "samples-000000000096.png").is_file()
        stored = {path.name for path in (made / name).glob("average-*")}
        assert len(stored) == 6 and any(path.startswith("average-000000000096-0.1") for path in stored)
    pipeline = GalaxyPipeline.from_pretrained(made / "grain" / "model")
    assert pipeline.grain is not None and pipeline.size == 16
    assert pipeline("toy, spiral galaxy, {bar:1.5}", n=2, steps=3).images.shape == (2, 16, 16, 3)
    card = (made / "grain" / "model" / "README.md").read_text()
    for name in ("Autoencoder", "Generator", "Grain"):
        assert f"- {name}: 96 images in 0.0 hours" in card
    assert "t03_bar_a06_bar" in card and "2 withheld" not in card
    stages = pipeline.record.training
    assert stages["grain"]["start"] == load_model(made / "flow" / "model", CPU).hash
    assert all(value["processes"] == 1 and value["held_out_loss"] > 0 for value in stages.values())


def test_each_training_leaves_the_other_parts_alone(made: Path) -> None:
    parts = {
        name: {file: (made / name / "model" / file).read_bytes() for file in files}
        for name, files in {
            "autoencoder": (AUTOENCODER,),
            "flow": (AUTOENCODER, DENOISER),
            "grain": (AUTOENCODER, DENOISER),
        }.items()
    }
    assert parts["autoencoder"][AUTOENCODER] == parts["flow"][AUTOENCODER] == parts["grain"][AUTOENCODER]
    assert parts["flow"][DENOISER] == parts["grain"][DENOISER]
    assert not (made / "flow" / "model" / GRAIN).exists()


def test_the_latents_of_a_trained_autoencoder_have_unit_variance(made: Path, toy: Path) -> None:
    autoencoder, _, _ = load_autoencoder(made / "autoencoder" / "model", CPU)
    assert not torch.equal(autoencoder.std, torch.ones(4))
    weights = load_file(made / "flow" / "model" / DENOISER)
    assert all(bool(value.isfinite().all()) for value in weights.values())
    assert float(weights["gain"]) != 0  # it has begun to learn
    assert 0.1 < load_model(made / "flow" / "model", CPU).denoiser.spread < 1.5


@pytest.mark.parametrize("name", ["autoencoder", "flow", "grain"])
def test_an_interrupted_training_goes_on_to_the_same_weights(
    made: Path, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    learn, task, file = stage(made, toy, name)
    calls, loss = [], task.loss

    def interrupting(self: Any, *arguments: Any) -> tuple[Tensor, dict[str, Tensor | float]]:
        calls.append(1)
        if len(calls) == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        result: tuple[Tensor, dict[str, Tensor | float]] = loss(self, *arguments)
        return result

    monkeypatch.setattr(task, "loss", interrupting)
    part = learn(tmp_path / "parts", images=96)
    assert not part["done"] and part["images_seen"] == 40
    assert (tmp_path / "parts" / "model" / file).is_file()  # RUN/model is there whenever a training stops
    assert not (tmp_path / "parts" / "done.json").exists()
    assert learn(tmp_path / "parts", images=96)["done"]
    first, second = load_file(made / name / "model" / file), load_file(tmp_path / "parts" / "model" / file)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_finished_run_is_not_done_again_but_goes_on_for_more(made: Path, toy: Path, tmp_path: Path) -> None:
    encoder = made / "autoencoder" / "model"
    first = train([toy], tmp_path / "run", recipe=small(), images=16, autoencoder=encoder)
    written = (tmp_path / "run" / "model" / DENOISER).stat().st_mtime_ns
    assert train([toy], tmp_path / "run", recipe=small(), images=16, autoencoder=encoder) == first
    assert (tmp_path / "run" / "model" / DENOISER).stat().st_mtime_ns == written
    assert train([toy], tmp_path / "run", recipe=small(), images=24, autoencoder=encoder)["images_seen"] == 24
    for text in ("", "[]", '{"images_seen": "many"}', "[" * 100_000):
        (tmp_path / "run" / "done.json").write_text(text)
        with pytest.raises(InputError, match=r"done\.json"):
            train([toy], tmp_path / "run", recipe=small(), images=24, autoencoder=encoder)


def test_fine_tuning_goes_on_from_a_model_and_keeps_its_grain(made: Path, toy: Path, tmp_path: Path) -> None:
    start = made / "grain" / "model"
    tuned = Path(train([toy], tmp_path / "tuned", recipe=small(), images=8, start=start)["model"])
    for file in (AUTOENCODER, GRAIN):
        assert (tuned / file).read_bytes() == (start / file).read_bytes()
    stages = load_model(tuned, CPU).record.training
    assert (
        stages.keys() == {"autoencoder", "grain", "generator"} and stages["generator"]["earlier"]["images_seen"] == 96
    )
    assert load_model(tuned, CPU).denoiser.spread == load_model(start, CPU).denoiser.spread
    with pytest.raises(InputError, match="another network, tree or surveys"):
        train([toy], tmp_path / "no", recipe=small("network.widths=[16, 32]"), images=8, start=start)


def test_grain_of_other_surveys_is_left_out(toy: Path, tmp_path: Path) -> None:
    tiny = save_tiny_model(tmp_path / "tiny")
    model = Path(train([toy], tmp_path / "run", recipe=small(), images=8, autoencoder=tiny)["model"])
    assert load_model(model, CPU).grain is None
    with pytest.raises(InputError, match="knows the surveys sdss, sdss-r90, efigi, the datasets are of toy"):
        train_grain([toy], tmp_path / "grain", recipe=small_grain(), images=8, start=tiny)


def test_another_recipe_or_autoencoder_in_the_same_folder_is_refused(made: Path, toy: Path, tmp_path: Path) -> None:
    encoder, other = made / "autoencoder" / "model", save_tiny_model(tmp_path / "other")
    train([toy], tmp_path / "run", recipe=small(), images=8, autoencoder=encoder)
    with pytest.raises(InputError, match=r"other settings \(recipe\)"):
        train([toy], tmp_path / "run", recipe=small("fit.seed=1"), images=8, autoencoder=encoder)
    with pytest.raises(InputError, match=r"other settings \(autoencoder\)"):
        train([toy], tmp_path / "run", recipe=small(), images=16, autoencoder=other)


def test_images_of_another_size_are_refused_before_any_work(toy: Path, tmp_path: Path) -> None:
    tiny = save_tiny_model(tmp_path / "tiny", size=32)
    message = "images of 16 px, the autoencoder reads 32 px; build the datasets with --size 32"
    with pytest.raises(InputError, match=message):
        train([toy], tmp_path / "run", recipe=small(), images=8, autoencoder=tiny)
    with pytest.raises(InputError, match=message):
        train_grain([toy], tmp_path / "run", recipe=small_grain(), images=8, start=tiny)
    with pytest.raises(InputError, match=message):
        train_autoencoder([toy], tmp_path / "run", recipe=small_autoencoder("network.size=32"), images=8)
    assert not (tmp_path / "run").exists()


def test_an_autoencoder_alone_cannot_be_gone_on_from(made: Path, toy: Path, tmp_path: Path) -> None:
    alone = made / "autoencoder" / "model"
    with pytest.raises(InputError, match="holds an autoencoder alone"):
        train([toy], tmp_path / "run", recipe=small(), images=8, start=alone)
    with pytest.raises(InputError, match="holds an autoencoder alone"):
        train_grain([toy], tmp_path / "run", recipe=small_grain(), images=8, start=alone)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"minutes": float("nan")}, "train: minutes"),
        ({"minutes": -1.0}, "train: minutes"),
        ({"images": 0}, "train: images"),
        ({"images": -8}, "train: images"),
    ],
)
def test_budgets_that_make_no_sense(toy: Path, tmp_path: Path, budget: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        train_autoencoder([toy], tmp_path / "run", recipe=small_autoencoder(), **budget)
    assert not (tmp_path / "run").exists()


def test_recipe_overrides_are_checked(toy: Path, made: Path, tmp_path: Path) -> None:
    assert Recipe.load("mini", ["fit.batch=16"]).fit.batch == 16
    with pytest.raises(InputError, match=r"'fit\.bacth=16': expected key=value with a key of the recipe"):
        Recipe.load("mini", ["fit.bacth=16"])
    for wrong in ("fit.batch=many", f"fit.seed={2**70}", "network.widths=[-1, 2, 3]", "fit.cooldown=.nan"):
        with pytest.raises(InputError, match=wrong.partition("=")[0].replace(".", r"\.")):
            Recipe.load("mini", [wrong])
    encoder = made / "autoencoder" / "model"
    for wrong, message in (("[64, 96]", "multiple of 64 channels, not 96"), ("[16, 16, 16, 16]", "cannot be halved 3")):
        with pytest.raises(InputError, match=message):
            recipe = small(f"network.widths={wrong}")
            train([toy], tmp_path / "odd", recipe=recipe, images=8, autoencoder=encoder)
    assert not (tmp_path / "odd").exists()
    with pytest.raises(
        InputError, match=r"neither a built-in recipe \(mini, mini-autoencoder, mini-grain\) nor a YAML file"
    ):
        Recipe.load("maxi")
    with pytest.raises(InputError, match="kind"):
        Recipe.load("mini-grain")


@pytest.mark.parametrize(
    ("name", "kind"), [("mini", Recipe), ("mini-autoencoder", AutoencoderRecipe), ("mini-grain", GrainRecipe)]
)
def test_built_in_recipes_load(name: str, kind: type[Recipe]) -> None:
    assert kind.load(name).name == name
