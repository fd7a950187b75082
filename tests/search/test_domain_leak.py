"""The probe sees a score that knows who made a galaxy, and only that."""

import numpy as np

from galaxysd.search.domain_leak import jpeg_roundtrip, probe


def test_a_score_that_knows_the_style_fails_and_another_passes() -> None:
    rng = np.random.default_rng(0)
    real = rng.beta(1, 9, 300)
    assert probe(real, rng.beta(1, 9, 200), seed=0).passed
    shifted = probe(real, rng.beta(2, 5, 200), seed=0)
    assert not shifted.passed and shifted.area.low > 0.6
    below = probe(rng.beta(2, 5, 300), rng.beta(1, 9, 200), seed=0)
    assert not below.passed and below.area.high < 0.4


def test_equalised_images_keep_shapes_and_lose_grain() -> None:
    rng = np.random.default_rng(0)
    smooth = np.full((2, 32, 32, 3), 40, np.uint8)
    smooth[:, 10:20, 10:20] = 180
    grainy = np.clip(smooth.astype(int) + rng.integers(-1, 2, smooth.shape), 0, 255).astype(np.uint8)
    apart = np.abs(grainy.astype(int) - smooth).mean()
    now = np.abs(jpeg_roundtrip(grainy).astype(int) - jpeg_roundtrip(smooth)).mean()
    assert now < 0.85 * apart and np.abs(jpeg_roundtrip(smooth).astype(int) - smooth).mean() < 2
    assert np.array_equal(jpeg_roundtrip(grainy)[:1], jpeg_roundtrip(grainy[:1]))
