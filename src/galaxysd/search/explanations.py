"""Why a galaxy is a candidate: which part of the picture the score hangs on.

In: pixels and a function that scores them. Out: occlusion maps (Zeiler and Fergus 2014, arXiv 1311.2901, with the
galaxy's own blurred light in place of a grey square).
"""

from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter

from galaxysd.types import Floats, Pixels

Score = Callable[[Pixels], Floats]

HEAT = np.array([255.0, 96.0, 32.0])  # colour of what raised the score


def occlusion(score: Score, image: Pixels, *, windows: int = 8) -> Floats:
    """How much of the log odds of a score each part of a picture holds.

    A square of a quarter of the side goes over the picture; in it the picture is replaced by itself, blurred by an
    eighth of the side, so that lanes, arms and rings vanish while the light stays.

    Args:
        score: probabilities [N] of uint8 [N, S, S, 3].
        image: uint8 [S, S, 3].
        windows: squares along each side.

    Returns:
        [S, S]: mean drop of the log odds over the squares that cover a pixel; positive where the picture raised it.
    """
    side = image.shape[0]
    width = side // 4
    blurred = gaussian_filter(image.astype(np.float32), sigma=(side / 8, side / 8, 0)).round().astype(np.uint8)
    starts = np.linspace(0, side - width, windows).round().astype(int)
    places = [(top, left) for top in starts for left in starts]
    hidden = np.repeat(image[None], len(places) + 1, axis=0)
    for copy, (top, left) in zip(hidden[1:], places, strict=True):
        copy[top : top + width, left : left + width] = blurred[top : top + width, left : left + width]
    odds = _log_odds(score(hidden))
    total, covered = np.zeros((side, side)), np.zeros((side, side))
    for drop, (top, left) in zip(odds[0] - odds[1:], places, strict=True):
        total[top : top + width, left : left + width] += drop
        covered[top : top + width, left : left + width] += 1
    return total / covered


def overlay(image: Pixels, heat: Floats) -> Pixels:
    """The picture with what raised its score drawn over it in orange, the strongest part half opaque.

    Args:
        image: uint8 [S, S, 3].
        heat: [S, S], see `occlusion`.
    """
    peak = max(float(heat.max()), 1e-9)
    opacity = 0.5 * np.clip(heat / peak, 0, 1)[..., None]
    return np.asarray(np.rint(image * (1 - opacity) + HEAT * opacity), dtype=np.uint8)


def _log_odds(probability: Floats) -> Floats:
    safe = np.clip(probability, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(safe / (1 - safe)))
