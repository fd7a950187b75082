"""Few shots: so many labelled galaxies of each class, drawn by a seed, and the part of them kept for validation.

In: class numbers of all training galaxies. Out: `Shots`, places of the galaxies to learn from and of those to tune and
calibrate with. The validation galaxies are taken out of the shots, not added to them: an experiment with ten galaxies
per class has seen ten labels per class in all. A larger draw of the same seed holds the smaller one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from galaxysd.errors import InputError
from galaxysd.types import Labels

EVERY = 5  # every fifth galaxy of a class is held out
LEAST = 3  # galaxies a class needs: two to learn from and one to hold out


@dataclass(frozen=True)
class Shots:
    """One draw.

    Attributes:
        train: places of the galaxies to learn from.
        held_out: places of those for validation, disjoint.
        counts: galaxies of each class, both kinds together [K].
    """

    train: Labels
    held_out: Labels
    counts: tuple[int, ...]


def draw_shots(labels: Labels, classes: Sequence[str], shots: int | None, seed: int) -> Shots:
    """Draw the galaxies of one experiment.

    Args:
        labels: class of each training galaxy [N].
        classes: names of the K classes.
        shots: galaxies per class; a class that has fewer gives all. None: all of them.
        seed: of the draw.

    Raises:
        InputError: a class has fewer than three galaxies, or no class has as many as `shots`.
    """
    available = np.bincount(labels, minlength=len(classes))
    for name, count in zip(classes, available, strict=True):
        if count < LEAST:
            raise InputError(f"class {name!r}: {count} training galaxies; at least {LEAST} are needed")
    if shots is not None and shots < LEAST:
        raise InputError(f"shots {shots}: at least {LEAST} galaxies per class are needed")
    if shots is not None and shots > available.max():
        raise InputError(
            f"shots {shots}: no class has as many training galaxies, the largest has {available.max()}; use 'all'"
        )
    rng = np.random.default_rng(seed)
    train, held_out = [], []
    for index in range(len(classes)):
        order = rng.permutation(np.flatnonzero(labels == index))[:shots]
        held_out.append(order[::EVERY])  # a larger draw also holds out what a smaller one does
        train.append(np.delete(order, np.s_[::EVERY]))
    return Shots(
        np.concatenate(train),
        np.concatenate(held_out),
        tuple(len(a) + len(b) for a, b in zip(train, held_out, strict=True)),
    )
