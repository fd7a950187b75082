"""Copies of training galaxies and synthetic galaxies of another class are refused, others are not."""

from collections.abc import Callable

import numpy as np
import torch

from galaxysd.augmentation.filtering import label_mismatch, near_copies
from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.data.transforms import dihedral

Shapes = Callable[..., GalaxySet]


def flat(examples: GalaxySet) -> np.ndarray:
    return examples.images[..., 0].reshape(len(examples), -1).astype(np.float64)


def test_turned_copies_are_refused_and_the_alarm_rings(shapes: Shapes) -> None:
    learned, held_out, synthetic = shapes(120, seed=0), shapes(120, seed=1), shapes(40, seed=2, synthetic=True)
    clean = near_copies(synthetic, learned, held_out)
    assert clean.copied.sum() <= 2 and not clean.alarm
    images = synthetic.images.copy()
    images[:8] = dihedral(learned.planes()[:8], torch.arange(8)).permute(0, 2, 3, 1).numpy()
    copies = near_copies(GalaxySet(images, synthetic.ids, labels=synthetic.labels, synthetic=True), learned, held_out)
    assert copies.copied[:8].all() and copies.alarm and copies.share >= 0.2


def test_dreams_of_another_class_are_doubted(shapes: Shapes) -> None:
    real, synthetic = shapes(60, seed=0), shapes(150, seed=1, synthetic=True)
    right = label_mismatch(flat(synthetic), synthetic.labels, flat(real), real.labels, 3, seed=0)
    wrong = label_mismatch(flat(synthetic), (synthetic.labels + 1) % 3, flat(real), real.labels, 3, seed=0)
    assert right.mean() < 0.05 and 0.4 < wrong.mean() <= 0.5  # at most half of a class
    ignorant = label_mismatch(np.ones((150, 4)), synthetic.labels, np.ones((60, 4)), real.labels, 3, seed=0)
    assert not ignorant.any()
    again = label_mismatch(flat(synthetic), synthetic.labels, flat(real), real.labels, 3, seed=0)
    assert (right == again).all()
