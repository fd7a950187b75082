"""Variations keep what a galaxy is."""

from collections.abc import Callable

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from galaxysd.classifiers.transforms import StrongAugmentation, _windows, strong, turned
from galaxysd.data.galaxy_set import GalaxySet


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_turning_moves_pixels_only(shapes: Callable[..., GalaxySet]) -> None:
    pixels = shapes(32).planes()
    found = turned(pixels, generator())
    assert found.dtype == torch.uint8 and not torch.equal(found, pixels)
    assert torch.equal(found.flatten(1).sort(dim=1).values, pixels.flatten(1).sort(dim=1).values)


def test_strong_variations_are_reproducible_images_with_distributions(shapes: Callable[..., GalaxySet]) -> None:
    examples = shapes(64)
    labels = torch.from_numpy(examples.labels)
    first, targets = strong(examples.planes(), labels, 3, StrongAugmentation(), generator(1))
    again, _ = strong(examples.planes(), labels, 3, StrongAugmentation(), generator(1))
    other, _ = strong(examples.planes(), labels, 3, StrongAugmentation(), generator(2))
    assert first.dtype == torch.uint8 and first.shape == examples.planes().shape
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.allclose(targets.sum(dim=1), torch.ones(64)) and bool((targets >= 0).all())
    whole = targets.max(dim=1).values > 0.999
    assert 20 < int(whole.sum()) < 64  # half are mixed, some of them with their own kind
    unmixed, targets = strong(examples.planes(), labels, 3, StrongAugmentation(mixed=0), generator(1))
    assert torch.equal(targets.argmax(dim=1), labels) and bool((targets.max(dim=1).values == 1).all())
    assert not torch.equal(unmixed, examples.planes())


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=20))
def test_cutmix_counts_the_pixels_that_stay(draws: list[tuple[float, float, float]]) -> None:
    own, *centre = np.array(draws).T
    outside, kept = _windows(own, np.stack(centre, axis=1), 32)
    assert np.allclose(outside.float().mean(dim=(1, 2)).numpy(), kept)
    assert (kept >= own - 0.07).all()  # the border may only take away from the square, but for whole pixels


def test_a_mixture_lies_between_its_images() -> None:
    pixels = torch.zeros(16, 3, 16, 16, dtype=torch.uint8)
    pixels[8:] = 200
    plain = StrongAugmentation.model_validate(
        {
            "views": {"resampled": 0, "brightness": 0, "colour": 0, "blurred": 0, "noisy": 0, "cut": 0},
            "mixed": 1.0,
        }
    )
    found, targets = strong(pixels, torch.arange(16) // 8, 2, plain, generator(3))
    share = found.float().mean(dim=(1, 2, 3)) / 200
    assert torch.allclose(share, targets[:, 1], atol=0.01)
    assert int(((share > 0.02) & (share < 0.98)).sum()) > 3
