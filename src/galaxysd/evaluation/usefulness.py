"""Usefulness: train on generated galaxies only, test on real ones, beside training on equally many real ones.

The classification accuracy score (CAS, Ravuri and Vinyals 2019, arXiv 1905.10887), the most honest single number for a
conditional generator: whatever is missing, wrong or repeated in the generated galaxies is missing in the classifier.

In: images with the fractions asked for (generated) or voted (real). Out: accuracies on the same held-out real galaxies.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from galaxysd.catalog.tree import DecisionTree
from galaxysd.data.transforms import dihedral
from galaxysd.diffusion.condition import Condition
from galaxysd.evaluation.reader import Readers, ReaderSettings, train_reader
from galaxysd.metrics.consistency import Reading, right_shares
from galaxysd.runs import Run
from galaxysd.settings import FrozenModel
from galaxysd.training.fit import Batch
from galaxysd.types import Flags, Floats


@dataclass(frozen=True)
class LabelledImages:
    """Images in memory with what is known of them (protocol `Labelled` of reader.py).

    Attributes:
        pixels: uint8 [N, 3, S, S].
        told: fractions [N, A] float32, known [N, Q], survey [N].
    """

    pixels: Tensor
    told: Condition

    def __len__(self) -> int:
        return len(self.pixels)

    def images(self, indices: npt.NDArray[np.int64]) -> Tensor:
        """uint8 [B, 3, S, S]."""
        return self.pixels[indices]

    def condition(self, indices: npt.NDArray[np.int64]) -> Condition:
        """What is known of some of them."""
        return Condition(self.told.fractions[indices], self.told.known[indices], self.told.survey[indices])

    def batch(self, size: int, generator: torch.Generator) -> Batch:
        """Random galaxies in random orientation, all equally likely."""
        indices = torch.randint(len(self), (size,), generator=generator)
        turns = torch.randint(8, (size,), generator=generator)
        told = self.condition(indices.numpy())
        return {"images": dihedral(self.pixels[indices], turns), "fractions": told.fractions, "known": told.known}

    def asked(self) -> tuple[Floats, Flags]:
        """Fractions [N, A] and known [N, Q] as arrays."""
        return self.told.fractions.double().numpy(), self.told.known.numpy()


class SchoolIdentity(FrozenModel):
    """What makes two trainings of this file the same."""

    settings: ReaderSettings
    seed: int
    source: str


def taught_by(
    source: str,
    teachers: LabelledImages,
    held_out: LabelledImages,
    test: LabelledImages,
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
    run = Run.open(folder, SchoolIdentity(settings=settings, seed=seed, source=source))
    network = train_reader(teachers, held_out, tree, run, settings, seed=seed)
    read = Readers((network,), tree).read(test.pixels.permute(0, 2, 3, 1).numpy())
    asked, known = test.asked()
    return right_shares(Reading(asked, known, read, tree))
