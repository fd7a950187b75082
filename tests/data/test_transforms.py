"""Views: geometry that can be checked by hand, and draws that follow their generator."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from galaxysd.data.transforms import ViewSettings, blur, cut_out, random_views, resample

NOTHING = ViewSettings(resampled=0, brightness=0, colour=0, blurred=0, noisy=0, cut=0)


def random_images(count: int, side: int = 16, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def pixels(count: int, side: int = 16, seed: int = 0) -> Tensor:
    return (255 * random_images(count, side, seed)).to(torch.uint8)


def one_view(settings: ViewSettings, images: Tensor, seed: int = 0) -> Tensor:
    return random_views(images, settings, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_quarter_turns_move_whole_pixels(quarters: int) -> None:
    images = random_images(2)
    turned = resample(images, torch.full((2,), quarters * math.pi / 2), torch.ones(2), torch.zeros(2, 2))
    assert torch.allclose(turned, torch.rot90(images, quarters, dims=(-2, -1)), atol=1e-4)


def test_shift_goes_right_and_down_whatever_the_magnification() -> None:
    image = torch.zeros(2, 1, 16, 16)
    image[:, :, 7:9, 7:9] = 1
    moved = resample(image, torch.zeros(2), torch.tensor([1.0, 1.25]), torch.tensor([[2 / 16, 3 / 16]] * 2))
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    for view in moved[:, 0]:
        assert float((view * columns).sum() / view.sum()) == pytest.approx(7.5 + 2, abs=0.05)
        assert float((view * rows).sum() / view.sum()) == pytest.approx(7.5 + 3, abs=0.05)
    assert float(moved[1].sum() / moved[0].sum()) == pytest.approx(1.25**2, rel=0.1)


def test_sky_stays_sky_at_the_border() -> None:
    flat = torch.full((1, 3, 16, 16), 0.3)
    turned = resample(flat, torch.tensor([0.7]), torch.tensor([0.8]), torch.tensor([[0.2, -0.2]]))
    assert torch.allclose(turned, flat, atol=1e-6)


@given(deviation=st.floats(0.7, 1.5))
def test_blur_keeps_flux_and_spreads_by_its_deviation(deviation: float) -> None:
    star = torch.zeros(1, 2, 17, 17)
    star[0, :, 8, 8] = 1
    spread = blur(star, torch.tensor([deviation]))
    assert float(spread[0, 0].sum()) == pytest.approx(1, abs=1e-5)
    offsets = (torch.arange(17.0) - 8).square()
    assert float((spread[0, 1].sum(dim=0) * offsets).sum()) == pytest.approx(deviation**2, rel=0.1)


def test_each_image_is_blurred_by_its_own_deviation() -> None:
    images = random_images(3)
    deviations = torch.tensor([0.3, 0.8, 1.2])
    together = blur(images, deviations)
    for index in range(3):
        alone = blur(images[index : index + 1], deviations[index : index + 1])
        assert torch.allclose(together[index : index + 1], alone, atol=1e-6)


def test_a_square_is_replaced_by_sky() -> None:
    image = torch.full((1, 3, 16, 16), 0.1)
    image[:, :, 4:8, 4:8] = 0.9
    gone = cut_out(image, torch.tensor([[6 / 16, 6 / 16]]), torch.tensor([4 / 16]))
    assert torch.equal(gone, torch.full_like(image, 0.1))
    corner = cut_out(torch.rand(1, 3, 16, 16), torch.zeros(1, 2), torch.tensor([4 / 16]))
    assert len(corner[0, 0, :2, :2].unique()) == 1 and len(corner[0, 0].unique()) > 200


def test_without_jitter_a_view_is_one_of_eight_orientations() -> None:
    images = pixels(32)
    views = one_view(NOTHING, images)
    found = set()
    for image, view in zip(images.float() / 255, views, strict=True):
        turned = [torch.rot90(side, k, dims=(-2, -1)) for side in (image, image.transpose(-1, -2)) for k in range(4)]
        matches = [index for index, other in enumerate(turned) if torch.equal(other, view)]
        assert len(matches) == 1
        found.update(matches)
    assert len(found) == 8


@given(seed=st.integers(0, 10_000))
def test_views_follow_their_generator_and_stay_in_range(seed: int) -> None:
    images = pixels(4, seed=seed)
    before = images.clone()
    view = one_view(ViewSettings(), images, seed)
    assert torch.equal(view, one_view(ViewSettings(), images, seed))
    assert not torch.equal(view, one_view(ViewSettings(), images, seed + 1))
    assert view.shape == images.shape and view.dtype == torch.float32
    assert float(view.min()) >= 0 and float(view.max()) <= 1
    assert torch.equal(images, before)


def test_colour_is_changed_less_than_brightness() -> None:
    grey = torch.full((400, 3, 8, 8), 80, dtype=torch.uint8)
    settings = NOTHING.model_copy(update={"brightness": 0.2, "colour": 0.05})
    logs = one_view(settings, grey)[:, :, 0, 0].log()
    assert float(logs.mean(dim=1).std()) == pytest.approx(math.hypot(0.2, 0.05 / 3**0.5), rel=0.15)
    assert float((logs[:, 0] - logs[:, 2]).std()) == pytest.approx(0.05 * 2**0.5, rel=0.15)


def test_shares_are_kept() -> None:
    images = pixels(400, side=8)
    for settings, share in ((NOTHING, 0.0), (NOTHING.model_copy(update={"noisy": 0.3}), 0.3)):
        changed = (one_view(settings, images) - one_view(NOTHING, images)).abs().amax(dim=(1, 2, 3)) > 0
        assert float(changed.float().mean()) == pytest.approx(share, abs=0.08)
