"""What the ranker of a search learns from: groups of generated and of real galaxies, a kind each.

In: generated galaxies, galaxies of the survey. Out: `Group`s, split into what is learned from and what is held out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.diffusion.pipeline import GalaxyPipeline
from galaxysd.generation.synthesize import synthesize
from galaxysd.search.target import Kind, SearchTarget
from galaxysd.types import Ints

UNLABELLED = "unlabelled"  # kind of the survey's own galaxies, of which hardly any is the target
BACKGROUND = "background"  # kind of the generated galaxies of what the survey holds as it comes (target.py)
# millions between the seeds of two kinds
SEEDS = {"target": 0, "no_feature": 1, "other_host": 2, BACKGROUND: 3}


@dataclass(frozen=True, eq=False)
class Group:
    """Galaxies of one kind.

    Attributes:
        kind: what they are.
        label: class, 1 for the target.
        galaxies: all real, or all synthetic.
        synthetic: made by the generator.
    """

    kind: str
    label: int
    galaxies: GalaxySet
    synthetic: bool

    def __len__(self) -> int:
        return len(self.galaxies)

    def subset(self, indices: Ints) -> "Group":
        """Some of the galaxies, by number."""
        return replace(self, galaxies=self.galaxies.subset(indices))

    def indices(self, member: int, members: int) -> Ints:
        """Which galaxies a member of the ensemble learns from: its own part of the unlabelled, all of the others."""
        return np.arange(member, len(self), members) if self.kind == UNLABELLED else np.arange(len(self))


def _generated_group(pipeline: GalaxyPipeline, kind: Kind, n: int, *, seed: int, folder: Path) -> Group:
    """`n` generated galaxies of a kind, kept in `folder`; each kind and seed has its own galaxies."""
    first = 10_000_000 * seed + 1_000_000 * SEEDS[kind.name]
    cache = folder / f"{kind.name}-{kind.content_hash()}-{first}-{n}.npy"
    images = synthesize(pipeline, [kind.morphology] * n, first, cache)
    galaxies = GalaxySet(images, [f"generated:{first + index}" for index in range(n)], synthetic=True)
    return Group(kind.name, int(kind.name == "target"), galaxies, synthetic=True)


def generated_groups(
    pipeline: GalaxyPipeline,
    search_target: SearchTarget,
    *,
    target: int,
    hard_negatives: int,
    background: int,
    seed: int,
    folder: Path,
) -> list[Group]:
    """Every kind of a search, the target first: so many generated galaxies of it, of each hard negative, and of the
    background.
    """
    counts = {"target": target, BACKGROUND: background}
    return [
        _generated_group(pipeline, kind, counts.get(kind.name, hard_negatives), seed=seed, folder=folder)
        for kind in search_target.kinds
    ]


def split(groups: Sequence[Group], held_out: float, seed: int) -> tuple[list[Group], list[Group]]:
    """Galaxies to learn from and to hold out: the same share of every kind, at least one where there are two."""
    learned, held = [], []
    for number, group in enumerate(groups):
        order = np.random.default_rng([seed, number]).permutation(len(group))
        n = min(len(order) - 1, max(1, round(held_out * len(order)))) if len(order) > 1 else 0
        held.append(group.subset(order[:n]))
        learned.append(group.subset(order[n:]))
    return learned, held


def gallery(groups: Sequence[Group]) -> GalaxySet:
    """The galaxies of some groups in one set, to be found nearest."""
    if not groups:
        return GalaxySet(np.empty((0, 8, 8, 3), np.uint8), ())
    return GalaxySet.join(*(group.galaxies for group in groups))
