"""generation/walks.py: one seed, changing requests."""

import numpy as np
import pytest

from galaxysd.diffusion.pipeline import GalaxyPipeline
from galaxysd.errors import InputError
from galaxysd.generation.walks import interpolation, same_seed, weight_sweep

ROUND, CIGAR = "sdss, smooth, completely round galaxy", "sdss, smooth, cigar shaped galaxy"


def test_an_interpolation_begins_and_ends_with_its_prompts(pipeline: GalaxyPipeline) -> None:
    walk = interpolation(pipeline, ROUND, CIGAR, n=5, seed=3)
    assert walk.labels == ("0%", "25%", "50%", "75%", "100%") and walk.images.shape == (5, 16, 16, 3)
    assert np.array_equal(walk.images[0], pipeline(ROUND, seed=3).images[0])
    assert np.array_equal(walk.images[-1], pipeline(CIGAR, seed=3).images[0])
    assert len({image.tobytes() for image in walk.images}) == 5


def test_same_seed_changes_with_the_prompt_only(pipeline: GalaxyPipeline) -> None:
    walk = same_seed(pipeline, [ROUND, CIGAR, ROUND], seed=5)
    assert np.array_equal(walk.images[0], walk.images[2])
    assert not np.array_equal(walk.images[0], walk.images[1])
    assert walk.labels == (ROUND, CIGAR, ROUND) and walk.seed == 5


def test_a_weight_sweep_passes_through_the_plain_prompt(pipeline: GalaxyPipeline) -> None:
    walk = weight_sweep(pipeline, "sdss, {bar:<w>}", [0.5, 1, 2])
    assert walk.labels == ("0.5", "1", "2")
    assert np.array_equal(walk.images[1], pipeline("sdss, bar").images[0])
    assert len({image.tobytes() for image in walk.images}) == 3


def test_walks_that_make_no_sense(pipeline: GalaxyPipeline) -> None:
    with pytest.raises(InputError, match="at least 2 images, not 1"):
        interpolation(pipeline, ROUND, CIGAR, n=1)
    with pytest.raises(InputError, match="no prompts"):
        same_seed(pipeline, [])
    with pytest.raises(InputError, match="with <w> in it"):
        weight_sweep(pipeline, "bar", [1])
    with pytest.raises(InputError, match="out of range"):
        weight_sweep(pipeline, "{bar:<w>}", [7])
    with pytest.raises(InputError, match="seed must lie"):
        same_seed(pipeline, [ROUND], seed=-1)
