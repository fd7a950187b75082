"""The grain stage: local, told nothing but the survey, exact where the answer is known, and of the right strength."""

import pytest
import torch
from tiny_model import tiny_grain
from torch import Tensor

from galaxysd.diffusion import flow, grain
from galaxysd.diffusion.grain import GrainNetwork, GrainSettings, grain_levels


@pytest.fixture(autouse=True)
def _exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grain, "fast_precision", lambda device: torch.float32)


def inputs(count: int = 2, size: int = 16) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    noisy, decoded = (torch.randn((count, 3, size, size), generator=generator) for _ in range(2))
    return noisy, torch.full((count,), 0.6), decoded / 2, torch.zeros(count, dtype=torch.long)


@torch.no_grad()
@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("which", [0, 2])
def test_a_pixel_far_away_changes_nothing(blocks: int, which: int) -> None:
    network, reach = tiny_grain(blocks=blocks), 2 * blocks + 2
    given = list(inputs(1, 24))
    before = network(*given)
    given[which] = given[which].clone()
    given[which][0, :, 2, 2] += 1
    moved = (network(*given) - before).abs().amax(dim=1)[0]
    near = moved[: 2 + reach + 1, : 2 + reach + 1]
    assert bool((near > 1e-6).any(dim=0)[-1]) and bool((near > 1e-6).any(dim=1)[-1])  # reached to the last pixel
    moved[: 2 + reach + 1, : 2 + reach + 1] = 0
    assert float(moved.max()) == 0


@torch.no_grad()
def test_it_knows_the_survey_and_the_decoded_image_and_the_level() -> None:
    network = tiny_grain()
    noisy, level, decoded, survey = inputs()
    plain = network(noisy, level, decoded, survey)
    assert plain.shape == noisy.shape and plain.dtype == torch.float32
    for changed in (
        network(noisy, level, decoded, survey + 1),
        network(noisy, level, decoded, survey + 3),  # unknown
        network(noisy, level, decoded.flip(0), survey),
        network(noisy, level / 2, decoded, survey),
    ):
        assert float((changed - plain).abs().max()) > 0.01


@torch.no_grad()
def test_a_fresh_network_is_exact_for_unit_noise() -> None:
    """A residual N(0, 1) has the denoiser (1 - s) x_s / (s^2 + (1 - s)^2): the network starts there."""
    network = GrainNetwork(GrainSettings(width=8, blocks=1, surveys=1))
    noisy, _, decoded, survey = inputs(4)
    s = torch.tensor([0.05, 0.4, 0.7, 1.0])
    column = s[:, None, None, None]
    exact = (1 - column) * noisy / (column**2 + (1 - column) ** 2)
    assert torch.allclose(network(noisy, s, decoded, survey), exact, atol=1e-6)


def test_what_the_network_is_to_learn_has_unit_size() -> None:
    """The loss weight undoes c_out, so the error of a fresh network is one at every level."""
    generator = torch.Generator().manual_seed(0)
    residual, noise = (torch.randn((512, 3, 8, 8), generator=generator) for _ in range(2))
    network = GrainNetwork(GrainSettings(width=8, blocks=1, surveys=1))
    for value in (0.1, 0.5, 0.9):
        level = torch.full((512,), value)
        with torch.no_grad():
            told = (torch.zeros_like(noise), torch.zeros(512).long())
            denoised = network(flow.add_noise(residual, noise, level), level, *told)
        error = flow.loss_weight(level, 1.0, 0.02) * (denoised - residual).square()
        assert float(error.mean()) == pytest.approx(1.0, rel=0.02)


@torch.no_grad()
@pytest.mark.parametrize("steps", [1, 2, 4, 16])
def test_unit_noise_keeps_its_strength_with_few_steps(steps: int) -> None:
    network = GrainNetwork(GrainSettings(width=8, blocks=1, surveys=1, steps=steps, spread=0.1))
    noise, _, decoded, survey = inputs(8)
    drawn = network.add(decoded, survey, noise) - decoded
    assert torch.allclose(drawn, 0.1 * noise, atol=1e-5)


class Narrow(GrainNetwork):
    """Residuals N(0, d^2), whose denoiser is known."""

    deviation = 0.5

    def forward(self, noisy: Tensor, level: Tensor, decoded: Tensor, survey: Tensor) -> Tensor:
        s = level[:, None, None, None]
        return (1 - s) * self.deviation**2 / (s**2 + self.deviation**2 * (1 - s) ** 2) * noisy


@torch.no_grad()
@pytest.mark.parametrize(("steps", "tolerance"), [(4, 0.05), (32, 0.02)])
def test_fainter_grain_comes_out_fainter(steps: int, tolerance: float) -> None:
    network = Narrow(GrainSettings(width=8, blocks=1, surveys=1, steps=steps, spread=0.1))
    noise, _, decoded, survey = inputs(8, 32)
    drawn = network.add(decoded, survey, noise) - decoded
    assert float(drawn.std()) == pytest.approx(0.05, rel=tolerance)


@torch.no_grad()
def test_without_spread_the_decoded_image_stays() -> None:
    network = GrainNetwork(GrainSettings(width=8, blocks=1, surveys=1, spread=1e-9))
    noise, _, decoded, survey = inputs()
    assert torch.allclose(network.add(decoded, survey, noise), decoded, atol=1e-7)


@torch.no_grad()
def test_a_galaxy_does_not_depend_on_its_company() -> None:
    network = tiny_grain()
    noise, _, decoded, survey = inputs(4)
    together = network.add(decoded, survey, noise)
    shuffled = network.add(decoded.flip(0), survey, noise.flip(0)).flip(0)
    assert torch.equal(together, shuffled)


def test_levels_begin_at_pure_noise() -> None:
    assert grain_levels(4) == (1.0, 0.75, 0.5, 0.25)
