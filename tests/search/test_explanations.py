"""The occlusion map points at what a score hangs on."""

import numpy as np

from galaxysd.search.explanations import occlusion, overlay


def test_the_map_points_at_the_bright_corner() -> None:
    image = np.full((32, 32, 3), 20, np.uint8)
    image[4:8, 22:26] = 255

    def score(images: np.ndarray) -> np.ndarray:
        return 0.1 + 0.8 * images[:, 4:8, 22:26].mean(axis=(1, 2, 3)) / 255

    heat = occlusion(score, image)
    assert heat.shape == (32, 32)
    top, left = np.unravel_index(heat.argmax(), heat.shape)
    assert top < 16 <= left and heat[24:, :8].max() < 0.2 * heat.max()
    assert np.allclose(occlusion(lambda images: np.full(len(images), 0.4), image), 0)
    drawn = overlay(image, heat)
    assert drawn.dtype == np.uint8 and (drawn[24:, :8] == image[24:, :8]).all() and (drawn != image).any()
