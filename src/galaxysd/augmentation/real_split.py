"""The real galaxies of an augmentation experiment: whom it trains on, whom it tests with, and whom the generator knows.

In: dataset folders with rules, or a user's own labels beside the datasets that the generator has learned from. Out: a
`RealSplit` whose test galaxies nobody has seen; one that somebody has is refused (leakage.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from galaxysd.augmentation.leakage import refuse_shared, shared_galaxies, split_of
from galaxysd.classifiers.class_rules import ClassRules
from galaxysd.classifiers.labels import labelled_examples, read_labels
from galaxysd.data.dataset import Dataset
from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.errors import InputError

TEST_SHARE = 0.3  # of one's own galaxies of a class


@dataclass(frozen=True)
class RealSplit:
    """Galaxies by what they are for.

    Attributes:
        classes: names of the K classes.
        train: labelled galaxies to draw shots from.
        test: labelled galaxies to measure with.
        learned: all galaxies in the training split of the generator's data.
        held_out: galaxies that the generator has not learned from, to compare the memory of synthetic galaxies with.
    """

    classes: tuple[str, ...]
    train: GalaxySet
    test: GalaxySet
    learned: GalaxySet
    held_out: GalaxySet


def surveyed(datasets: Sequence[Dataset], rules: ClassRules) -> RealSplit:
    """Galaxies of datasets: shots from the training split, the test split to measure with.

    Raises:
        InputError: a split has no labelled galaxy of a class, or a test galaxy is in the training split.
    """
    train, test = (labelled_examples(datasets, split, rules) for split in ("train", "test"))
    learned = split_of(datasets, "train")
    refuse_shared(test, {"the training split of classifier, generator and encoder": learned})
    return RealSplit(rules.names, train, test, learned, _held_out(datasets))


def own(
    datasets: Sequence[Dataset],
    table: str | Path,
    images: str | Path,
    size: int,
    classes: Sequence[str] | None,
    seed: int,
) -> RealSplit:
    """A user's own galaxies: those that the generator has learned from may train, of the others some are for the test.

    Args:
        datasets: what the generator has learned from.
        table: file and class of each galaxy (`read_labels`).
        images: their images.
        size: side of the generator's images, px.
        classes: names that are allowed, None: those of the table.
        seed: of the choice of test galaxies.

    Raises:
        InputError: as `read_labels`, or a class has no galaxy left to test with.
    """
    examples, names = read_labels(table, images, size, classes=classes)
    learned = split_of(datasets, "train")
    seen = np.zeros(len(examples), dtype=bool)
    seen[shared_galaxies(examples, learned, any_survey=True)["place"].to_numpy()] = True
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(examples), dtype=bool)
    for index, name in enumerate(names):
        members = np.flatnonzero(examples.labels == index)
        unseen = rng.permutation(members[~seen[members]])
        wanted = round(TEST_SHARE * len(members))
        if not len(unseen) or not wanted:
            raise InputError(
                f"{table}: class {name!r}: {len(members)} galaxies, {len(members) - len(unseen)} of them in the "
                "training split of the generator's data; at least two are needed, and one that it has not seen"
            )
        chosen[unseen[:wanted]] = True
    train, test = examples.subset(~chosen), examples.subset(chosen)
    refuse_shared(test, {"the galaxies that are left to train the classifier": train})
    return RealSplit(names, train, test, learned, _held_out(datasets))


def _held_out(datasets: Sequence[Dataset]) -> GalaxySet:
    held_out = split_of(datasets, "val")
    if not len(held_out):
        raise InputError("datasets: no galaxy in split 'val', which the memory test of the dreams compares with")
    return held_out
