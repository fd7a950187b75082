"""The autoencoder: shapes, precision, statistics of its latents, and that it learns."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_model import tiny_autoencoder
from torch import Tensor

from galaxysd.data.dataset import Dataset
from galaxysd.diffusion import autoencoder as module
from galaxysd.diffusion.autoencoder import Autoencoder, AutoencoderSettings, to_pixels, to_unit
from galaxysd.diffusion.autoencoder_task import (
    AutoencoderTask,
    AutoencoderTaskSettings,
    AutoencoderWithCritic,
    Critic,
    perceptual_distance,
)
from galaxysd.diffusion.data import DataSettings, GalaxyPool
from galaxysd.errors import InputError


@pytest.fixture(scope="module")
def pool(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> GalaxyPool:
    return GalaxyPool([Dataset.open(toy)], "train", DataSettings(), tmp_path_factory.mktemp("pool"))


def images(count: int = 4, size: int = 16) -> Tensor:
    return torch.rand((count, 3, size, size), generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (16, 4), (64, 3)])
def test_latents_are_a_quarter_of_the_side(size: int, channels: int) -> None:
    autoencoder = Autoencoder(AutoencoderSettings(size=size, channels=channels, widths=(8, 8), last=8))
    with torch.no_grad():
        latents = autoencoder.encode(images(2, size))
        drawn = autoencoder.decode(latents)
    assert latents.shape == (2, channels, size // 4, size // 4) and latents.dtype == torch.float32
    assert drawn.shape == (2, 3, size, size) and drawn.dtype == torch.float32
    assert autoencoder.settings.latent_size == size // 4


@pytest.mark.parametrize("wrong", [{"size": 66}, {"size": 4}, {"widths": (-1, 8)}, {"widths": (8,)}, {"channels": 0}])
def test_shapes_that_make_no_sense(wrong: dict) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        AutoencoderSettings.parse(wrong, "network")


def test_scaling_the_latents_changes_no_image() -> None:
    plain, scaled = tiny_autoencoder(), tiny_autoencoder()
    scaled.mean.copy_(torch.tensor([0.5, -1.0, 2.0, 0.0]))
    scaled.std.copy_(torch.tensor([0.1, 1.0, 3.0, 0.7]))
    with torch.no_grad():
        one, two = plain.encode(images()), scaled.encode(images())
        assert torch.allclose(two * scaled.std[:, None, None] + scaled.mean[:, None, None], one, atol=1e-5)
        assert torch.allclose(plain.decode(one), scaled.decode(two), atol=1e-4)


@torch.no_grad()
def test_bfloat16_comes_near_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    autoencoder, found = tiny_autoencoder(), {}
    for precision in (torch.float32, torch.bfloat16):
        monkeypatch.setattr(module, "fast_precision", lambda device, precision=precision: precision)
        latents = autoencoder.encode(images())
        found[precision] = latents, autoencoder.decode(latents)
    for exact, fast in zip(found[torch.float32], found[torch.bfloat16], strict=True):
        assert fast.dtype == torch.float32 and not torch.equal(exact, fast)
        assert float((exact - fast).square().mean().sqrt()) < 0.03 * float(exact.std())


def test_pixels_survive_the_way_there_and_back() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    assert torch.equal(to_pixels(to_unit(pixels)), pixels)
    assert to_pixels(torch.tensor([-3.0, 3.0])).tolist() == [0, 255]


def test_latents_have_zero_mean_and_unit_variance_once_measured(pool: GalaxyPool) -> None:
    autoencoder = tiny_autoencoder()
    task = AutoencoderTask(autoencoder, AutoencoderTaskSettings(), pool, None)
    autoencoder.mean.fill_(7)  # what was there before does not count
    task.measure_latents(pool)
    with torch.no_grad():
        latents = autoencoder.encode(to_unit(pool.images(np.arange(len(pool)))))
    assert torch.allclose(latents.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-3)
    assert torch.allclose(latents.std(dim=(0, 2, 3)), torch.ones(4), atol=1e-3)


def test_it_learns_to_bring_images_back(pool: GalaxyPool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    autoencoder = Autoencoder(AutoencoderSettings(size=16, widths=(16, 16), last=16))
    task = AutoencoderTask(autoencoder, AutoencoderTaskSettings(critic_from=0.9), pool, None)
    optimizer = torch.optim.Adam(task.model.parameters(), lr=3e-3)
    generator, errors, steps = torch.Generator().manual_seed(0), [], 60
    for step in range(steps):
        batch = task.prepare(pool.batch(8, generator), generator, step / steps)
        loss, measured = task.loss(task.model, batch, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(float(measured["absolute"]))
        assert ("critic" in measured) == (step >= 0.9 * steps)
    assert np.mean(errors[-8:]) < 0.5 * np.mean(errors[:8])
    measured = task.snapshot(task.model.state_dict(), tmp_path, 1)
    assert 0 < measured["held_out"] < 40 and (tmp_path / "samples-000000000001.png").is_file()


def test_the_critic_and_the_autoencoder_learn_apart() -> None:
    torch.manual_seed(0)
    both = AutoencoderWithCritic(tiny_autoencoder().train(), Critic())
    noise = torch.zeros(4, 4, 4, 4)

    def moved(loss: Tensor) -> tuple[bool, bool]:
        both.zero_grad()
        loss.backward()
        grads = [
            [weight.grad for weight in part.parameters() if weight.grad is not None and bool(weight.grad.any())]
            for part in (both.autoencoder, both.critic)
        ]
        return bool(grads[0]), bool(grads[1])

    assert moved(both(images(), noise, judged=True)[2].mean()) == (True, False)
    assert moved(both(images(), noise, judged=True)[3].mean()) == (False, True)
    assert moved(both(images(), noise, judged=True)[4].mean()) == (False, True)
    assert moved(both(images(), noise, judged=False)[0].mean()) == (True, False)
    # Several processes wait for a gradient of every weight, also before the critic counts.
    assert all(weight.grad is not None for weight in both.critic.parameters())


def test_perceptual_distance_looks_at_directions_only() -> None:
    def maps(seen: Tensor) -> list[Tensor]:
        return [seen - 0.5, torch.nn.functional.avg_pool2d(seen - 0.5, 2)]

    one, other = (images() + 1) / 2, (images().flip(0) + 1) / 2
    assert float(perceptual_distance(maps, one, one).max()) == 0  # type: ignore[arg-type]
    far = perceptual_distance(maps, one, other)  # type: ignore[arg-type]
    assert far.shape == (4,) and float(far.min()) > 0
    scaled = perceptual_distance(lambda seen: [2 * item for item in maps(seen)], one, other)  # type: ignore[arg-type]
    assert torch.allclose(scaled, far, rtol=0.05)
    watched = copy.deepcopy(one).requires_grad_()
    perceptual_distance(maps, watched, other).sum().backward()  # type: ignore[arg-type]
    assert watched.grad is not None and bool(watched.grad.any())
