"""The test at full resolution: a half for images of one kind, more for a texture that differs."""

import numpy as np
import pytest

from galaxysd.metrics.controls import blurred
from galaxysd.metrics.pixel_test import pixel_test
from galaxysd.stats import TooFewGalaxies


def images(n: int, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(80, 20, (n, 16, 16, 3))
    return values.clip(0, 255).astype(np.uint8)


def test_images_of_one_kind_cannot_be_told_apart_and_blurred_ones_can() -> None:
    real, more = images(80, 0), images(120, 1)
    equal = pixel_test(images(80, 2), real, more, seed=0, folds=2, steps=12, batch=16)
    assert 0.3 < equal.value < 0.7 and equal.low < 0.5 < equal.high and equal.n == 80
    soft = pixel_test(blurred(images(80, 2), 0.8), real, more, seed=0, folds=2, steps=12, batch=16)
    assert soft.value > 0.9 and soft.low > equal.value


def test_the_same_seed_gives_the_same_area() -> None:
    found = [pixel_test(images(20, 2), images(20, 0), images(20, 1), seed=3, folds=2, steps=2) for _ in range(2)]
    assert found[0] == found[1]


def test_too_few_images_are_refused() -> None:
    with pytest.raises(TooFewGalaxies, match="at least 30"):
        pixel_test(images(29, 2), images(40, 0), images(40, 1), seed=0)
