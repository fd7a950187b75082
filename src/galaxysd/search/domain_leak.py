"""Guards against the shortcut of all that learn from generated galaxies: telling generated from real.

In: images, and scores of real and of generated galaxies of the same mix. Out: images that went through one processing,
and a `DomainLeakTest` that says whether the score gives away who made a galaxy.
"""

import io

import numpy as np
from PIL import Image
from pydantic import Field

from galaxysd.metrics.c2st import area
from galaxysd.settings import FrozenModel
from galaxysd.stats import Estimate, bootstrap
from galaxysd.types import Floats, Pixels

QUALITY = 90  # of the JPEG every image goes through
TOLERANCE = 0.1  # distance from chance up to which the probe counts as failed


class DomainLeakTest(FrozenModel):
    """Can the score tell generated from real galaxies, none of which are what is looked for?"""

    area: Estimate = Field(
        description="probability that a generated galaxy scores above a real one; 0.5: it cannot tell"
    )
    passed: bool = Field(description="the interval reaches to within 0.1 of chance: no sign of a shortcut")


def jpeg_roundtrip(images: Pixels) -> Pixels:
    """The same processing for real and generated images: one JPEG round trip at full colour resolution.

    It takes away what neither survey nor generator means to say (single grey levels, the grain above the highest
    frequencies that a JPEG keeps), and gives both the same marks.

    Args:
        images: uint8 [N, S, S, 3].

    Returns:
        The same shape.
    """
    found = np.empty_like(images)
    for place, image in enumerate(images):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, format="JPEG", quality=QUALITY, subsampling=0)
        found[place] = np.asarray(Image.open(buffer))
    return found


def domain_leak_test(real: Floats, generated: Floats, *, seed: int) -> DomainLeakTest:
    """Ranker the scores of held-out negatives.

    A probe that sees the score alone can do no better than a threshold on it, so its power is the area under the ROC
    curve, from 0 to 1. Both samples must be of one mix of galaxies: hard negatives score higher than the survey's
    galaxies for a good reason.

    Args:
        real: scores of galaxies of the survey [M].
        generated: scores of generated galaxies of the survey's own mix [N].
        seed: of the bootstrap.

    Raises:
        TooFewGalaxies: there are fewer than ten of one.
    """
    found = bootstrap(area, real, generated, seed=seed, resamples=400)
    return DomainLeakTest(area=found, passed=found.low <= 0.5 + TOLERANCE and found.high >= 0.5 - TOLERANCE)
