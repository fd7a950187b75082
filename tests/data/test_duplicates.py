"""Thumbnails: the same picture at another size or brightness matches, other pictures do not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxysd.data.duplicates import SAME, match, thumbnails
from galaxysd.data.framing import resize
from galaxysd.data.toy_survey import random_galaxy, render


def galaxies(n: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [render(random_galaxy(rng, "spiral"), rng, 64) for _ in range(n)]


@given(st.sampled_from([32, 48, 96, 128]), st.floats(0.5, 1.0))
@settings(max_examples=15, deadline=None)
def test_size_and_brightness_do_not_matter(size: int, gain: float) -> None:
    first = galaxies(6, 0)
    second = [np.rint(resize(image, size) * gain).astype(np.uint8) for image in first]
    pairs = match(list("abcdef"), thumbnails(first), list("uvwxyz"), thumbnails(second))
    assert list(zip(pairs["a"], pairs["b"], strict=True)) == list(zip("abcdef", "uvwxyz", strict=True))
    assert pairs["correlation"].min() > SAME  # type: ignore[operator]


def test_other_galaxies_do_not_match() -> None:
    names = [str(index) for index in range(40)]
    assert match(names, thumbnails(galaxies(40, 1)), names, thumbnails(galaxies(40, 2))).is_empty()


def test_constant_images_match_nothing() -> None:
    flat = thumbnails([np.full((32, 32, 3), 9, np.uint8)] * 2)
    assert not flat.any()
    assert match(["a", "b"], flat, ["a", "b"], flat).is_empty()


def test_blocks_give_the_same_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [str(index) for index in range(10)]
    small = thumbnails(galaxies(10, 3))
    whole = match(names, small, names, small)
    monkeypatch.setattr("galaxysd.data.duplicates._BLOCK", 3)
    assert match(names, small, names, small)["a"].to_list() == whole["a"].to_list() == names
