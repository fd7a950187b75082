"""The critic and the task that fine-tunes against it: each side follows its own loss, and drawings get sharper."""

import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_model import SMALL_RECIPE
from torch import Tensor
from torch.nn import functional

from galaxysd.diffusion.adversarial import Duel, Truth
from galaxysd.diffusion.condition import Condition
from galaxysd.diffusion.critic import Critic
from galaxysd.diffusion.folder import WEIGHTS
from galaxysd.diffusion.pipeline import GalaxyPipeline, galaxy_noise
from galaxysd.diffusion.recipe import Recipe, train
from galaxysd.errors import InputError


class Contrast:
    """Feature maps of a fixed random convolution at two resolutions (protocol `FeatureMaps`)."""

    channels = (8, 8)
    hash = "contrast"

    def __init__(self) -> None:
        self._weight = torch.randn((8, 3, 3, 3), generator=torch.Generator().manual_seed(0))

    def __call__(self, images: Tensor) -> list[Tensor]:
        fine = functional.conv2d(images, self._weight, padding=1).abs()
        return [fine, functional.avg_pool2d(fine, 4)]


class Interrupting(Contrast):
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
    return Path(
        train([toy], tmp_path_factory.mktemp("start") / "run", recipe=Recipe.load("mini", SMALL_RECIPE), images=320)[
            "model"
        ]
    )


def sharp(*more: str) -> Recipe:
    return Recipe.load("mini-sharp", (*SMALL_RECIPE, *more))


def duel(start: Path, pull: float) -> tuple[Duel, tuple[Tensor, Tensor, Condition, Tensor, Tensor, Truth]]:
    """A duel and one step's arguments."""
    denoiser = GalaxyPipeline.from_pretrained(start).denoiser.train()
    answers, questions, surveys = len(denoiser.tree.columns), len(denoiser.tree.questions), len(denoiser.surveys)
    torch.manual_seed(0)
    critic = Critic(Contrast.channels, answers=answers, questions=questions, surveys=surveys)
    generator = torch.Generator().manual_seed(1)

    def draw() -> Tensor:
        return torch.randn((4, 3, 16, 16), generator=generator) / 5

    told = Condition(torch.zeros(4, answers), torch.zeros(4, questions, dtype=torch.bool), torch.zeros(4).long())
    level = torch.tensor([0.2, 0.5, 0.8, 0.95])
    arguments = (draw(), level, told, torch.ones(4, 1, 1, 1), draw(), Truth(draw(), told, level.flip(0)))
    return Duel(denoiser, critic, Contrast(), pull), arguments


def gradients(network: torch.nn.Module, loss: Tensor) -> dict[str, Tensor]:
    network.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in network.named_parameters() if weight.grad is not None}


def test_each_side_follows_its_own_loss(start: Path) -> None:
    pair, arguments = duel(start, pull=9.0)
    noisy, level, told, weight, images, truth = arguments
    loss, measured = pair(*arguments)
    both = gradients(pair, loss)
    with torch.no_grad():
        drawn = pair.denoiser(noisy, level, told)
    false = pair.critic(pair._maps(drawn), told, level)
    true = pair.critic(pair._maps(truth.images), told, truth.level)
    hinge = (functional.relu(1 + false) + functional.relu(1 - true)).mean()
    alone = gradients(pair, hinge)
    assert float(measured["critic"]) == pytest.approx(float(hinge.detach()), rel=1e-5)
    for name, value in alone.items():
        assert name.startswith("critic.")
        assert torch.allclose(both[name], value, atol=1e-6), name

    # With hardly any pull, what is left for the denoiser is the squared error.
    pair, arguments = duel(start, pull=1e-9)
    weak = gradients(pair, pair(*arguments)[0])
    error = gradients(pair, (weight * (pair.denoiser(noisy, level, told) - images).square()).mean())
    for name in error:
        assert torch.allclose(weak[name], error[name], atol=1e-6), name
    inlet = "denoiser.unet.inlet.weight"
    assert not torch.allclose(both[inlet], error[inlet], rtol=0.5, atol=0)


def test_the_pull_is_so_many_times_that_of_the_squared_error(start: Path) -> None:
    def length(pull: float) -> float:
        """Mean length of the gradient at the drawing that comes from the critic."""
        pair, arguments = duel(start, pull)
        found: list[Tensor] = []

        def remember(module: torch.nn.Module, inputs: tuple, output: Tensor) -> None:
            output.register_hook(found.append)

        handle = pair.denoiser.register_forward_hook(remember)
        pair(*arguments)[0].backward()
        handle.remove()
        drawn = pair.denoiser(*arguments[:3]).detach()
        own = 2 * (drawn - arguments[4]) / drawn.numel()
        return float((found[0] - own).flatten(1).norm(dim=1).mean() / own.flatten(1).norm(dim=1).mean())

    assert length(0.5) == pytest.approx(0.5, rel=1e-3)
    assert length(8.0) == pytest.approx(8.0, rel=1e-3)


def test_the_critic_leaves_means_alone(start: Path) -> None:
    pair, (noisy, level, told, weight, images, truth) = duel(start, pull=9.0)
    shown = Truth(truth.images[:2], truth.condition[:2], truth.level[:2])
    found: list[Tensor] = []

    def remember(module: torch.nn.Module, inputs: tuple, output: Tensor) -> None:
        output.register_hook(found.append)

    pair.denoiser.register_forward_hook(remember)
    pair(noisy, level, told, weight, images, shown)[0].backward()
    drawn = pair.denoiser(noisy, level, told).detach()
    own = 2 * (drawn - images) / drawn.numel()
    assert torch.allclose(found[0][2:], own[2:], atol=1e-7)
    assert not torch.allclose(found[0][:2], own[:2], atol=1e-5)


def test_against_a_critic_drawings_are_sharper(toy: Path, start: Path, tmp_path: Path) -> None:
    def contrast(model: str | Path) -> float:
        pipeline = GalaxyPipeline.from_pretrained(model)
        images = pipeline("toy", n=16, sampler="drawing", steps=2, guidance=1).images.astype(float)
        return float(abs(images[:, 1:] - images[:, :-1]).mean())

    rate = "fit.learning_rate=0.02"
    tuned = train([toy], tmp_path / "run", recipe=sharp(rate), images=960, start=start, critic=Contrast())
    longer = train([toy], tmp_path / "mse", recipe=Recipe.load("mini", (*SMALL_RECIPE, rate)), images=960, start=start)
    assert contrast(tuned["model"]) > 1.3 * contrast(longer["model"])


def test_resume_gives_the_same_weights_and_the_model_samples_by_drawing(toy: Path, start: Path, tmp_path: Path) -> None:
    recipe = sharp()
    whole = train([toy], tmp_path / "whole", recipe=recipe, images=64, start=start, critic=Contrast())
    assert (tmp_path / "whole" / "samples-000000000064.png").is_file()
    part = train([toy], tmp_path / "part", recipe=recipe, images=64, start=start, critic=Interrupting())
    assert part["images_seen"] == 24 and not part["done"]
    train([toy], tmp_path / "part", recipe=recipe, images=64, start=start, critic=Contrast())
    first, second = (load_file(tmp_path / name / "model" / WEIGHTS) for name in ("whole", "part"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert "Stretch 2: 64 images" in (tmp_path / "whole" / "model" / "README.md").read_text()
    assert "against a critic (pull 9.0)" in (tmp_path / "whole" / "model" / "README.md").read_text()
    before = load_file(start / WEIGHTS)
    assert set(first) == set(before) and any(not torch.equal(first[name], before[name]) for name in first)

    pipeline = GalaxyPipeline.from_pretrained(whole["model"])
    assert pipeline.sampling().sampler == "drawing"
    (alone,) = pipeline("toy, spiral galaxy", seed=5).images
    together = pipeline(["toy", "toy, spiral galaxy"], seed=4).images
    assert (alone == together[1]).all()  # its noise is its own, at every level
    assert torch.equal(galaxy_noise(5, 16, 4)[0], galaxy_noise(5, 16, 1)[0])  # samplers start alike


def test_a_critic_and_a_start_belong_to_the_recipe(toy: Path, start: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'mini-sharp' needs a critic"):
        train([toy], tmp_path / "a", recipe=sharp(), images=8, start=start)
    with pytest.raises(InputError, match="'mini' has no use for a critic"):
        train([toy], tmp_path / "b", recipe=Recipe.load("mini", SMALL_RECIPE), images=8, start=start, critic=Contrast())
    with pytest.raises(InputError, match="name one to start from"):
        train([toy], tmp_path / "c", recipe=sharp(), images=8, critic=Contrast())
