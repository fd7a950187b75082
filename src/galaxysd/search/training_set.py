"""What the ranker of a search learns from: groups of generated and of real galaxies, a kind each.

In: generated galaxies, galaxies of the survey. Out: `Group`s, split into what is learned from and what is held out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from galaxysd.diffusion.pipeline import GalaxyPipeline
from galaxysd.search.candidates import Gallery
from galaxysd.search.target import Kind, SearchTarget, dream_kind
from galaxysd.types import Pixels

UNLABELLED = "unlabelled"  # kind of the survey's own galaxies, of which hardly any is the target
BACKGROUND = "background"  # kind of the generated galaxies of what the survey holds as it comes (target.py)
SEEDS = {
    "target": 0,
    "no_feature": 1,
    "other_host": 2,
    BACKGROUND: 3,
}  # millions between the generated galaxies of two kinds


@dataclass(frozen=True)
class Group:
    """Examples of one kind.

    Attributes:
        kind: what they are.
        label: class, 0 or 1.
        ids: [N].
        images: uint8 [N, S, S, 3].
        generated: made by the generator.
    """

    kind: str
    label: int
    ids: tuple[str, ...]
    images: Pixels
    generated: bool


def _generated_group(pipeline: GalaxyPipeline, kind: Kind, n: int, *, seed: int, folder: Path) -> Group:
    """`n` generated galaxies of a kind, kept in `folder`; each kind and seed has its own galaxies."""
    first = 10_000_000 * seed + 1_000_000 * SEEDS[kind.name]
    images = dream_kind(
        pipeline, kind, n, seed=first, keep=folder / f"{kind.name}-{kind.content_hash()}-{first}-{n}.npy"
    )
    ids = tuple(f"generated:{first + index}" for index in range(n))
    return Group(kind.name, int(kind.name == "target"), ids, images, generated=True)


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
    """Every kind of a lesson, the target first: so many generated galaxies of it, of each hard negative, and of the
    mix.
    """
    counts = {"target": target, BACKGROUND: background}
    return [
        _generated_group(pipeline, kind, counts.get(kind.name, hard_negatives), seed=seed, folder=folder)
        for kind in search_target.kinds
    ]


def split(groups: Sequence[Group], held_out: float, seed: int) -> tuple[list[Group], list[Group]]:
    """Examples to learn from and to hold out: the same share of every kind, at least one where there are two."""
    learned, held = [], []
    for place, group in enumerate(groups):
        order = np.random.default_rng([seed, place]).permutation(len(group.ids))
        n = min(len(order) - 1, max(1, round(held_out * len(order)))) if len(order) > 1 else 0
        held.append(take(group, order[:n]))
        learned.append(take(group, order[n:]))
    return learned, held


def places(group: Group, member: int, members: int) -> npt.NDArray[np.int64]:
    """Which galaxies of a group a member of the ensemble learns from: its own part of the unlabelled, all of others."""
    return np.arange(member, len(group.ids), members) if group.kind == UNLABELLED else np.arange(len(group.ids))


def take(group: Group, places: npt.NDArray[np.int64]) -> Group:
    """Some galaxies of a group, by number."""
    return Group(
        group.kind, group.label, tuple(group.ids[place] for place in places), group.images[places], group.generated
    )


def gallery(groups: Sequence[Group]) -> Gallery:
    """The galaxies of some groups, to be found nearest."""
    if not groups:
        return Gallery((), np.empty((0, 8, 8, 3), np.uint8))
    return Gallery(
        tuple(name for group in groups for name in group.ids), np.concatenate([group.images for group in groups])
    )
