"""Readers learn what real galaxies show, remember it on disk, and are told apart by data and seed."""

from pathlib import Path

import numpy as np
import pytest
import torch

from galaxysd.catalog.tree import DecisionTree
from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.errors import InputError
from galaxysd.evaluation.cas import classification_accuracy
from galaxysd.evaluation.reader import ReaderNetwork, ReaderSettings, cross_entropy

TREE = DecisionTree.load("gz2")
SMALL = ReaderSettings(readers=1, widths=(16, 32), images=1280)
SMALL = SMALL.model_copy(update={"fit": SMALL.fit.model_copy(update={"batch": 32, "warmup": 64})})
SMOOTH = TREE.columns.index("t01_smooth_or_features_a01_smooth")


def stripes(n: int, seed: int, *, lie: bool = False) -> GalaxySet:
    """Flat discs are smooth, striped ones featured; a lying source calls them the other way round."""
    rng = np.random.default_rng(seed)
    striped = rng.random(n) < 0.5
    across = np.linspace(-1, 1, 16)
    disc = 150 * np.exp(-3 * (across[:, None] ** 2 + across[None, :] ** 2))
    waves = 1 + 0.9 * np.sign(np.sin(12 * across))
    pixels = np.where(striped[:, None, None], disc * waves, disc) + rng.normal(8, 3, (n, 16, 16))
    fractions = np.zeros((n, len(TREE.columns)))
    fractions[:, SMOOTH] = striped if lie else ~striped
    fractions[:, SMOOTH + 1] = 1 - fractions[:, SMOOTH]
    known = np.zeros((n, len(TREE.questions)), bool)
    known[:, 0] = True
    images = np.repeat(pixels.clip(0, 255).astype(np.uint8)[..., None], 3, axis=3)
    return GalaxySet(images, [f"toy:{index}" for index in range(n)], fractions=fractions, known=known)


def taught(folder: Path, teachers: GalaxySet, source: str = "toy") -> float:
    test = stripes(100, 2)
    return float(classification_accuracy(source, teachers, stripes(20, 1), test, TREE, folder, SMALL).mean())


def test_it_learns_from_true_teachers_and_not_from_liars(tmp_path: Path) -> None:
    assert taught(tmp_path / "true", stripes(200, 0)) > 0.9
    assert taught(tmp_path / "liars", stripes(200, 0, lie=True)) < 0.1


def test_a_finished_reader_is_read_again_and_another_source_refused(tmp_path: Path) -> None:
    first = taught(tmp_path / "run", stripes(200, 0))
    stamp = (tmp_path / "run" / "done.json").stat().st_mtime_ns
    assert taught(tmp_path / "run", stripes(200, 0)) == first
    assert (tmp_path / "run" / "done.json").stat().st_mtime_ns == stamp
    with pytest.raises(InputError, match="other settings \\(source\\)"):
        taught(tmp_path / "run", stripes(200, 0), source="elsewhere")


def test_untold_answers_have_no_gradient() -> None:
    logits = torch.zeros(4, 6, requires_grad=True)
    told = torch.zeros(4, 6, dtype=torch.bool)
    told[:, :2] = True
    cross_entropy(logits, torch.ones(4, 6), told).backward()
    assert logits.grad is not None
    assert bool((logits.grad[:, :2] != 0).all()) and float(logits.grad[:, 2:].abs().sum()) == 0
    assert float(cross_entropy(logits.detach(), torch.ones(4, 6), ~told & told)) == 0


def test_the_size_of_images_is_free() -> None:
    network = ReaderNetwork(5, (16, 16)).eval()
    for size in (16, 32):
        assert network(torch.zeros(2, 3, size, size, dtype=torch.uint8)).shape == (2, 5)
