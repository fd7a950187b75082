"""The network keeps magnitudes, starts where it should, and its gradients survive bfloat16."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from galaxysd.diffusion import network
from galaxysd.diffusion.network import GalaxyUNet, NetworkSettings
from galaxysd.errors import InputError
from galaxysd.nn import MPConv, fast_precision

SETTINGS = NetworkSettings(
    size=16, channels=4, widths=(32, 64), blocks=1, embedding=32, answers=5, questions=2, surveys=2
)
CPU = torch.device("cpu")


def inputs(batch: int = 8) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn((batch, 4, 16, 16), generator=generator)
    fractions = torch.rand((batch, 5), generator=generator)
    known = torch.ones(batch, 2, dtype=torch.bool)
    level = torch.linspace(0.05, 0.95, batch)
    return latents, level, fractions, known, torch.arange(batch) % 3


def woken(seed: int = 0) -> GalaxyUNet:
    """A network whose gains are not zero, so that every part of it matters."""
    torch.manual_seed(seed)
    unet = GalaxyUNet(SETTINGS)
    with torch.no_grad():
        for weight in unet.parameters():
            if weight.ndim == 0:
                weight.fill_(0.5)
    return unet


@given(kernel=st.sampled_from((1, 3)), width=st.sampled_from((8, 48, 96)), gain=st.floats(0.5, 2))
def test_a_layer_scales_the_variance_by_its_gain(kernel: int, width: int, gain: float) -> None:
    torch.manual_seed(0)
    layer = MPConv(width, 64, kernel, gain=gain)
    layer.normalise()
    # the border of a 3x3 convolution sees zeros, so only the inside counts
    out = layer(torch.randn(16, width, 12, 12))[:, :, 1:-1, 1:-1]
    assert float(out.detach().std()) == pytest.approx(gain, rel=0.1)


def test_normalising_sets_the_length_and_keeps_the_direction() -> None:
    layer = MPConv(6, 4, 3)
    with torch.no_grad():
        before = layer.weight.mul_(7).clone()
    layer.normalise()
    assert torch.allclose(layer.weight.square().mean(dim=1), torch.ones(4), atol=1e-5)
    assert torch.allclose(torch.cosine_similarity(layer.weight, before), torch.ones(4), atol=1e-5)


def test_features_keep_their_magnitude_at_every_level() -> None:
    unet, seen = woken().eval(), []
    for block in (*unet.down, unet.middle, *unet.up):
        block.register_forward_hook(lambda module, arguments, out: seen.append(float(out.float().std())))
    with torch.no_grad():
        unet(*inputs())
    assert len(seen) == 5 and all(0.7 < value < 1.4 for value in seen)


def test_a_fresh_network_draws_the_mean() -> None:
    out = GalaxyUNet(SETTINGS)(*inputs())
    assert out.shape == (8, 4, 16, 16) and float(out.detach().abs().max()) == 0


def test_level_morphology_and_survey_all_matter() -> None:
    unet = woken().eval()
    latents, level, fractions, known, survey = inputs()
    with torch.no_grad():
        plain = unet(latents, level, fractions, known, survey)
        for changed in (
            unet(latents, level.flip(0), fractions, known, survey),
            unet(latents, level, 1 - fractions, known, survey),
            unet(latents, level, fractions, ~known, survey),
            unet(latents, level, fractions, known, (survey + 1) % 3),
        ):
            assert float((changed - plain).abs().max()) > 0.01


def test_training_sets_weights_back_and_evaluation_leaves_them() -> None:
    unet = woken()
    with torch.no_grad():
        unet.conv_out.weight.mul_(3)
    unet.eval()(*inputs())
    assert float(unet.conv_out.weight.detach().square().mean()) == pytest.approx(9, rel=0.01)
    with torch.inference_mode():  # dreaming with a network that someone left in training mode
        unet.train()(*inputs())
    unet.eval()
    assert float(unet.conv_out.weight.detach().square().mean()) == pytest.approx(9, rel=0.01)
    unet.train()(*inputs())
    assert float(unet.conv_out.weight.detach().square().mean()) == pytest.approx(1, rel=0.01)


@pytest.mark.skipif(fast_precision(CPU) != torch.bfloat16, reason="this processor has no bfloat16 arithmetic")
def test_bfloat16_gradients_point_where_exact_ones_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def gradient(unet: GalaxyUNet) -> torch.Tensor:
        latents, *rest = inputs()
        (unet(latents, *rest) - latents.flip(0)).square().mean().backward()
        return torch.cat([weight.grad.flatten() for weight in unet.parameters() if weight.grad is not None])

    fast = gradient(woken())
    monkeypatch.setattr(network, "fast_precision", lambda device: torch.float32)
    exact = gradient(copy.deepcopy(woken()))
    assert float(torch.cosine_similarity(fast, exact, dim=0)) > 0.995


def test_attention_needs_whole_heads() -> None:
    values = SETTINGS.model_dump() | {"widths": (32, 96)}
    with pytest.raises(InputError, match="a multiple of 64 channels, not 96"):
        NetworkSettings.parse(values, "network")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"widths": (-1, 2, 3)}, "widths.0: Input should be greater than or equal to 1"),
        ({"widths": ()}, "widths"),
        ({"size": 10, "widths": (32, 32, 32)}, "latents of side 10 cannot be halved 2 times"),
    ],
)
def test_shapes_that_make_no_sense(wrong: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        NetworkSettings.parse(SETTINGS.model_dump() | wrong, "network")
