"""Usefulness: train on generated galaxies only, test on real ones, beside training on equally many real ones.

The classification accuracy score (CAS, Ravuri and Vinyals 2019, arXiv 1905.10887), the most honest single number for a
conditional generator: whatever is missing, wrong or repeated in the generated galaxies is missing in the classifier.

In: images with the fractions asked for (generated) or voted (real). Out: accuracies on the same held-out real galaxies.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from galaxysd.catalog.tree import DecisionTree
from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.data.transforms import dihedral
from galaxysd.diffusion.condition import Condition
from galaxysd.evaluation.reader import Readers, ReaderSettings, train_reader
from galaxysd.metrics.consistency import Reading, right_shares
from galaxysd.runs import Run
from galaxysd.training.fit import Batch
from galaxysd.types import Floats, Ints


@dataclass(frozen=True, eq=False)
class VoteDraws:
    """A set of galaxies as readers learn from it (protocol `Labelled` of reader.py).

    Attributes:
        galaxies: with fractions.
    """

    galaxies: GalaxySet

    def __len__(self) -> int:
        return len(self.galaxies)

    def images(self, indices: Ints) -> Tensor:
        """uint8 [B, 3, S, S]."""
        return self.galaxies.planes(indices)

    def condition(self, indices: Ints) -> Condition:
        """What is known of some of them."""
        return Condition(
            torch.from_numpy(self.galaxies.fractions[indices]).float(),
            torch.from_numpy(self.galaxies.known[indices]),
            torch.from_numpy(self.galaxies.survey[indices]),
        )

    def batch(self, size: int, generator: torch.Generator) -> Batch:
        """Random galaxies in random orientation, all equally likely."""
        indices = torch.randint(len(self), (size,), generator=generator).numpy()
        turns = torch.randint(8, (size,), generator=generator)
        told = self.condition(indices)
        return {"images": dihedral(self.images(indices), turns), "fractions": told.fractions, "known": told.known}


def classification_accuracy(
    source: str,
    teachers: GalaxySet,
    held_out: GalaxySet,
    test: GalaxySet,
    tree: DecisionTree,
    folder: Path,
    settings: ReaderSettings,
    *,
    seed: int = 0,
) -> Floats:
    """Train one reader on `teachers` alone and let it read `test`.

    Args:
        source: name and hash of what the teachers are; part of the run's identity.
        teachers: generated or real galaxies.
        held_out: real galaxies to watch the training with.
        test: real galaxies that neither the generator nor a reader has seen.
        tree: of all three.
        folder: run folder.
        settings: the same for every source, so that the number of updates is.
        seed: of the reader.

    Returns:
        Per test galaxy, the share of its clear questions that were read rightly (`consistency.right_shares`) [N].
    """
    run = Run.open(folder, settings, inputs={"seed": seed, "source": source})
    network = train_reader(VoteDraws(teachers), VoteDraws(held_out), tree, run, settings, seed=seed)
    read = Readers((network,), tree).read(test.images)
    return right_shares(Reading(test.fractions, test.known, read, tree))
