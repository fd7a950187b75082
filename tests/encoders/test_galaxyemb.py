"""The network: shapes, what a row of features depends on, its identity, and its speed."""

import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxysd.encoders.galaxyemb import (
    BLOCK,
    EightOrientations,
    EncoderNetwork,
    EncoderSettings,
    GalaxyEncoder,
    fingerprint,
)
from galaxysd.errors import InputError
from galaxysd.nn import ImageScale
from galaxysd.types import Pixels

TINY = EncoderSettings(patch=4, widths=(16, 24), blocks=1)
CPU = torch.device("cpu")


def network(seed: int = 0, shape: EncoderSettings = TINY, scale: ImageScale | None = None) -> EncoderNetwork:
    torch.manual_seed(seed)
    return EncoderNetwork(shape, scale or ImageScale())


def encoder(seed: int = 0, shape: EncoderSettings = TINY, scale: ImageScale | None = None) -> GalaxyEncoder:
    return GalaxyEncoder(network(seed, shape, scale), "tiny", CPU)


def images(count: int, side: int = 16, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3)).astype(np.uint8)


@pytest.mark.parametrize("side", [8, 16, 40])
def test_any_multiple_of_the_fold_will_do(side: int) -> None:
    found = encoder().features(images(3, side))
    assert found.shape == (3, 24) and found.dtype == np.float32 and np.isfinite(found).all()
    assert encoder().features(images(0, side)).shape == (0, 24)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, BLOCK + 10), st.randoms(use_true_random=False))
def test_a_row_depends_on_its_image_only(count: int, random) -> None:  # type: ignore[no-untyped-def]
    everything = images(count)
    together = encoder().features(everything)
    order = list(range(count))
    random.shuffle(order)
    assert np.allclose(encoder().features(everything[order]), together[order], atol=1e-5)
    assert np.array_equal(encoder().features(everything[order[:1]])[0], encoder().features(everything[order[:1]])[0])
    assert np.allclose(encoder().features(everything[order[0]][None])[0], together[order[0]], atol=1e-5)


def test_different_images_have_different_features_also_when_only_the_brightness_differs() -> None:
    dim, bright = np.full((1, 16, 16, 3), 20, np.uint8), np.full((1, 16, 16, 3), 200, np.uint8)
    one, other = encoder().features(dim), encoder().features(bright)
    assert np.linalg.norm(one - other) > 0.05 * np.linalg.norm(one)


def test_calibrated_features_are_centred_with_unit_mean_square() -> None:
    net = network()
    sample = images(100)
    net.calibrate(torch.from_numpy(np.ascontiguousarray(sample.transpose(0, 3, 1, 2))))
    found = GalaxyEncoder(net, "tiny", CPU).features(sample)
    assert np.abs(found.mean(axis=0)).max() < 0.02
    assert float(np.square(found).mean()) == pytest.approx(1, rel=0.02)


def test_the_hash_is_the_identity_of_weights_shape_and_preprocessing() -> None:
    assert encoder().hash == encoder().hash and len(encoder().hash) == 16
    assert int(encoder().hash, 16) >= 0
    others = {
        encoder(seed=1).hash,
        encoder(shape=TINY.model_copy(update={"patch": 2})).hash,
        encoder(scale=ImageScale(mean=-0.4)).hash,
        EightOrientations(encoder()).hash,
    }
    assert len(others | {encoder().hash}) == 5
    weights = {"a": torch.ones(2, 3), "b": torch.zeros(1)}
    assert fingerprint(weights, "x") == fingerprint(dict(reversed(weights.items())), "x")
    assert fingerprint(weights, "x") != fingerprint({**weights, "a": torch.ones(3, 2)}, "x")


def test_eight_orientations_forget_the_orientation_and_one_does_not() -> None:
    upright = images(4)
    mean = EightOrientations(encoder())
    for turned in (np.rot90(upright, axes=(1, 2)), upright[:, ::-1], upright.transpose(0, 2, 1, 3)):
        turned = np.ascontiguousarray(turned)
        assert np.allclose(mean.features(turned), mean.features(upright), atol=1e-5)
        assert not np.allclose(encoder().features(turned), encoder().features(upright), atol=1e-3)
    assert mean.dimension == 24 and mean.features(upright).dtype == np.float32


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((2, 16, 16, 3), np.float32), "uint8"),
        (np.zeros((16, 16, 3), np.uint8), r"\[N, S, S, 3\]"),
        (np.zeros((2, 16, 24, 3), np.uint8), r"not uint8 \[2, 16, 24, 3\]"),
        (np.zeros((2, 12, 12, 3), np.uint8), "images of 12 px; expected a multiple of 8"),
    ],
)
def test_other_images_are_refused(wrong: Pixels, message: str) -> None:
    with pytest.raises(InputError, match=message):
        encoder().features(wrong)


def test_the_default_network_is_small_and_fast() -> None:
    net = network(shape=EncoderSettings())
    assert 2 * sum(weight.numel() for weight in net.state_dict().values()) < 20e6  # bytes as fp16
    assert 128 <= EncoderSettings().widths[-1] <= 256
    fast = GalaxyEncoder(net, "full", CPU)
    sample = images(BLOCK, 64)
    fast.features(sample)
    began = time.process_time()
    fast.features(sample)
    # Far below what is measured, and CPU time rather than wall time: this catches bfloat16 where it is emulated.
    assert BLOCK / (time.process_time() - began) > 15


def test_every_weight_is_used() -> None:
    net = network()
    net(torch.rand(2, 3, 16, 16)).square().sum().backward()
    assert all(weight.grad is not None and bool(weight.grad.any()) for weight in net.parameters())
