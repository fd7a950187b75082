"""The perceptual term: it pulls towards what a vision network sees in the galaxy, where it is asked to, and as hard."""

import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from galaxysd.diffusion.perceptual import PerceptualSettings, perceptual_distance, perceptual_pull
from galaxysd.diffusion.task import FlowMatchingTask
from safetensors.torch import load_file
from tiny_model import SMALL_RECIPE
from torch import Tensor
from torch.nn import functional

from galaxysd.data.dataset import Dataset
from galaxysd.diffusion.data import GalaxyPool
from galaxysd.diffusion.folder import WEIGHTS
from galaxysd.diffusion.pipeline import GalaxyPipeline
from galaxysd.diffusion.recipe import Recipe, train
from galaxysd.errors import InputError


class Edges:
    """Feature maps of a fixed random convolution at two resolutions (protocol `FeatureMaps`)."""

    hash = "edges"

    def __init__(self) -> None:
        self._weight = torch.randn((8, 3, 3, 3), generator=torch.Generator().manual_seed(0))

    def __call__(self, images: Tensor) -> list[Tensor]:
        fine = functional.conv2d(images, self._weight, padding=1).abs()
        return [fine, functional.avg_pool2d(fine, 4)]


class Interrupting(Edges):
    """The same, but someone presses Ctrl-C in the third step."""

    calls = 0

    def __call__(self, images: Tensor) -> list[Tensor]:
        self.calls += 1
        if self.calls == 5:  # two in each step: drawn, real
            os.kill(os.getpid(), signal.SIGINT)
        return super().__call__(images)


@pytest.fixture(scope="module")
def start(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has seen 320 toy galaxies."""
    folder = tmp_path_factory.mktemp("start") / "run"
    return Path(train([toy], folder, recipe=Recipe.load("mini", SMALL_RECIPE), images=320)["model"])


def perceptual(*more: str) -> Recipe:
    return Recipe.load("mini-perceptual", (*SMALL_RECIPE, *more))


def images(count: int, seed: int) -> Tensor:
    return torch.rand((count, 3, 16, 16), generator=torch.Generator().manual_seed(seed))


def test_blur_is_farther_the_stronger_it_is_and_nothing_is_far_from_itself() -> None:
    sharp = images(4, 0)
    blurred = [functional.avg_pool2d(sharp, size, stride=1, padding=size // 2) for size in (3, 7)]
    distances = [perceptual_distance(Edges(), image, sharp) for image in (sharp, *blurred)]
    assert float(distances[0].abs().max()) == 0
    assert (distances[1] > 0.1).all() and (distances[2] > 1.05 * distances[1]).all()


def test_the_pull_has_the_length_asked_for_and_leads_away_from_the_counterpart() -> None:
    drawn, real, strength = images(3, 1), images(3, 2), torch.tensor([0.01, 0.02, 0.0])
    pull, distance = perceptual_pull(Edges(), drawn, real, strength)
    assert torch.allclose(pull.flatten(1).norm(dim=1), strength, rtol=1e-4)
    assert torch.allclose(distance, perceptual_distance(Edges(), drawn, real))
    nearer = perceptual_distance(Edges(), drawn - pull, real)
    assert (nearer[:2] < distance[:2]).all() and nearer[2] == distance[2]


def test_it_acts_between_its_levels_as_hard_as_its_strength(toy: Path, start: Path, tmp_path: Path) -> None:
    denoiser = GalaxyPipeline.from_pretrained(start).denoiser
    recipe = perceptual()
    pool = GalaxyPool([Dataset.open(toy)], "train", recipe.data, tmp_path)
    generator = torch.Generator().manual_seed(0)
    batch = pool.batch(32, generator)

    def gradient(settings: PerceptualSettings | None) -> tuple[Tensor, Tensor]:
        """Of the loss at what is drawn, [32, 3, 16, 16], and log noise to signal."""
        seen = SimpleNamespace()

        class Watched(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.denoiser = denoiser

            def forward(self, noisy: Tensor, level: Tensor, condition: object) -> Tensor:
                seen.drawn, seen.level = self.denoiser(noisy, level, condition), torch.logit(level)
                seen.drawn.retain_grad()
                return seen.drawn

        task = FlowMatchingTask(denoiser, recipe.task, pool, None if settings is None else (settings, Edges()))
        loss, measured = task.loss(Watched(), batch, torch.Generator().manual_seed(1))
        assert ("perceptual" in measured) == (settings is not None and settings.lowest < settings.highest)
        loss.backward()
        return seen.drawn.grad, seen.level

    own, level = gradient(None)
    with_term, _ = gradient(PerceptualSettings(strength=3.0, lowest=-1.0, highest=1.0))
    length = (with_term - own).flatten(1).norm(dim=1) / own.flatten(1).norm(dim=1)
    inside = (level > -1) & (level < 1)
    assert 0 < int(inside.sum()) < 32
    assert torch.allclose(length[inside], torch.tensor(3.0), rtol=1e-3)
    assert float(length[~inside].max()) == 0
    nowhere, _ = gradient(PerceptualSettings(lowest=9.0, highest=-9.0))  # a batch may hold no galaxy between the levels
    assert torch.equal(nowhere, own)


def test_training_with_it_brings_what_is_seen_nearer_than_squared_error_alone(
    toy: Path, start: Path, tmp_path: Path
) -> None:
    def distance(model: str) -> float:
        denoiser = GalaxyPipeline.from_pretrained(model).denoiser
        pool = GalaxyPool([Dataset.open(toy)], "val", perceptual().data, tmp_path)
        task = FlowMatchingTask(denoiser, perceptual().task, pool)
        level = torch.full((len(pool),), 0.5)
        with torch.no_grad():
            noisy = 0.5 * task.held_images + 0.5 * task.held_noise
            drawn = denoiser(noisy, level, task.held_condition)
        unit = denoiser.scale.unit
        return float(perceptual_distance(Edges(), unit(drawn), unit(task.held_images)).mean())

    rate = "fit.learning_rate=0.05"
    recipe = perceptual(rate, "perceptual.strength=10.0")
    tuned = train([toy], tmp_path / "run", recipe=recipe, images=1600, start=start, features=Edges())
    plain = Recipe.load("mini", (*SMALL_RECIPE, rate))
    longer = train([toy], tmp_path / "mse", recipe=plain, images=1600, start=start)
    assert distance(tuned["model"]) < 0.8 * distance(longer["model"])


def test_resume_gives_the_same_weights_and_the_card_tells(toy: Path, start: Path, tmp_path: Path) -> None:
    recipe = perceptual()
    whole = train([toy], tmp_path / "whole", recipe=recipe, images=64, start=start, features=Edges())
    part = train([toy], tmp_path / "part", recipe=recipe, images=64, start=start, features=Interrupting())
    assert part["images_seen"] == 24 and not part["done"]
    train([toy], tmp_path / "part", recipe=recipe, images=64, start=start, features=Edges())
    first, second = (load_file(tmp_path / name / "model" / WEIGHTS) for name in ("whole", "part"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    card = (Path(whole["model"]) / "README.md").read_text()
    assert "Stretch 2: 64 images" in card and "a perceptual term of strength 6.0 between -1.5 and 2.0" in card


def test_a_vision_network_belongs_to_the_recipe(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'mini-perceptual' needs a vision network"):
        train([toy], tmp_path / "a", recipe=perceptual(), images=8)
    with pytest.raises(InputError, match="'mini' has no use for a vision network"):
        train([toy], tmp_path / "b", recipe=Recipe.load("mini", SMALL_RECIPE), images=8, features=Edges())
