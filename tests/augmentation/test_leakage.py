"""A test galaxy that somebody has seen is found by id, place and pixels, and by nothing else."""

import io
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from galaxysd.augmentation.leakage import refuse_shared, shared_galaxies, split_of
from galaxysd.data.dataset import Dataset
from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.errors import InputError

Shapes = Callable[..., GalaxySet]


def reasons(one: GalaxySet, other: GalaxySet, **options: bool) -> list[tuple[int, str]]:
    return list(shared_galaxies(one, other, **options).select("place", "reason").iter_rows())


def noise(n: int, seed: int) -> GalaxySet:
    """Galaxies that have nothing in common."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    ids = tuple(f"s{seed}:{index}" for index in range(n))
    ra, dec = rng.uniform(0, 360, n), rng.uniform(-60, 60, n)
    return GalaxySet(images, ids, ra=ra, dec=dec)


def replace(galaxies: GalaxySet, **values: Any) -> GalaxySet:
    """The same galaxies with something changed."""
    changed = copy(galaxies)
    vars(changed).update(values)
    return changed


def test_different_galaxies_share_nothing() -> None:
    assert reasons(noise(40, 0), noise(40, 1)) == []


def test_the_same_id_counts_within_a_survey_and_in_any_survey_if_asked() -> None:
    one, other = noise(4, 0), noise(4, 1)
    assert reasons(one, replace(other, ids=("s0:2", "x:1", "y:1", "z:1"))) == [(2, "same id")]
    assert reasons(one, replace(other, ids=("own:2", "x:7", "y:8", "z:9"))) == []
    assert reasons(one, replace(other, ids=("own:2", "x:7", "y:8", "z:9")), any_survey=True) == [(2, "same id")]


@pytest.mark.parametrize("dec", [0.0, 62.0, -89.9])
def test_two_arcseconds_on_the_sky_decide(dec: float) -> None:
    one, other = noise(1, 0), noise(1, 1)
    here = replace(one, ra=np.array([359.99999]), dec=np.array([dec]))
    aside = np.array([359.99999 + 1.9 / 3600 / np.cos(np.radians(dec))])
    assert reasons(here, replace(other, ra=aside % 360, dec=np.array([dec]))) == [(0, "within 2 arcsec")]
    assert reasons(here, replace(other, ra=np.array([359.99999]), dec=np.array([dec + 2.1 / 3600]))) == []
    assert reasons(replace(here, ra=np.array([np.nan])), here.subset([0])) == [(0, "same id"), (0, "same pixels")]


def test_a_picture_that_was_compressed_again_is_the_same_and_one_with_other_grain_is_not(shapes: Shapes) -> None:
    one = shapes(3, seed=3, noise=25.0)
    buffer = io.BytesIO()
    Image.fromarray(one.images[1]).save(buffer, format="JPEG", quality=98)
    again = np.array(Image.open(buffer))[None]
    other = replace(noise(1, 9), images=again)
    assert not np.array_equal(other.images[0], one.images[1])
    assert reasons(one, other) == [(1, "same pixels")]
    grained = (again + 12 * np.random.default_rng(0).standard_normal(again.shape)).clip(0, 255)
    assert reasons(one, replace(other, images=grained.astype(np.uint8))) == []


def test_equal_constant_pictures_are_the_same() -> None:
    one, other = noise(1, 0), noise(1, 1)
    flat = np.full((1, 32, 32, 3), 7, np.uint8)
    assert reasons(replace(one, images=flat), replace(other, images=flat.copy())) == [(0, "same pixels")]


def test_the_error_names_ids_learner_and_reason() -> None:
    test, seen = noise(9, 0), noise(9, 1)
    refuse_shared(test, {"the generator": seen})
    with pytest.raises(InputError, match=r"1 galaxies are also in the encoder: s0:3 = s0:3 \(same id\)"):
        refuse_shared(test, {"the generator": seen, "the encoder": replace(seen, ids=("s0:3", *seen.ids[1:]))})
    with pytest.raises(InputError, match=r"9 galaxies .* and 22 more"):
        refuse_shared(test, {"the generator": test})


def test_a_whole_split_is_read_labelled_or_not(toy: Path) -> None:
    dataset = Dataset.open(toy)
    train = split_of([dataset], "train")
    assert train.ids == tuple(f"toy:{name}" for name in dataset.ids("train"))
    assert set(train.labels) == {-1} and np.isfinite(train.ra).all()
    refuse_shared(split_of([dataset], "test"), {"train": train})
