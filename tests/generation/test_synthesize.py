"""Many galaxies of given morphologies: generated once, read ever after, never mistaken for others."""

from pathlib import Path

import numpy as np
import pytest

from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.diffusion.pipeline import GalaxyPipeline
from galaxysd.errors import InputError
from galaxysd.generation.synthesize import morphologies_of, synthesize, synthesize_like
from galaxysd.prompts import Morphology


def test_galaxies_are_kept_and_others_are_refused(pipeline: GalaxyPipeline, tmp_path: Path) -> None:
    cache = tmp_path / "any.npy"
    made = synthesize(pipeline, [Morphology()] * 3, 5, cache)
    assert made.shape == (3, pipeline.size, pipeline.size, 3) and made.dtype == np.uint8
    before = cache.stat().st_mtime_ns
    assert np.array_equal(synthesize(pipeline, [Morphology()] * 3, 5, cache), made)
    assert cache.stat().st_mtime_ns == before
    for asked, seed in (([Morphology()] * 3, 6), ([Morphology()] * 4, 5)):
        with pytest.raises(InputError, match="holds other galaxies"):
            synthesize(pipeline, asked, seed, cache)


def test_generated_galaxies_are_of_the_morphology_and_size_of_real_ones(
    pipeline: GalaxyPipeline, tmp_path: Path
) -> None:
    tree, surveys = pipeline.record.tree, ("sdss",)
    fractions, known = np.zeros((2, len(tree.columns))), np.zeros((2, len(tree.questions)), bool)
    fractions[0, 0], known[0, 0] = 1.0, True
    real = GalaxySet(np.zeros((2, 24, 24, 3), np.uint8), ("a", "b"), fractions=fractions, known=known)
    first, second = morphologies_of(real, tree, surveys)
    assert first.fractions[tree.columns[0]] == 1.0 and not second.fractions and first.survey == "sdss"
    made = synthesize_like(
        pipeline, real, tree, surveys, sampling=pipeline.sampling(), seed=7, cache=tmp_path / "like.npy"
    )
    assert made.size == 24 and made.ids == ("generated:7", "generated:8") and made.synthetic.all()
    assert np.array_equal(made.fractions, fractions)
