"""What the judge of a search learns from: lots of dreamed and of real galaxies, a kind each.

In: dreams, galaxies of the survey. Out: `Lot`s, split into what is learned from and what is held out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from galaxysd.diffusion.pipeline import GalaxyPipeline
from galaxysd.search.candidates import Gallery
from galaxysd.search.target import Kind, Lesson, dream_kind
from galaxysd.types import Pixels

UNLABELLED = "unlabelled"  # kind of the survey's own galaxies, of which hardly any is the target
MIX = "mix"  # kind of the dreams of what the survey holds as it comes (target.py)
SEEDS = {"target": 0, "without": 1, "elsewhere": 2, MIX: 3}  # millions between the dreams of two kinds


@dataclass(frozen=True)
class Lot:
    """Examples of one kind.

    Attributes:
        kind: what they are.
        label: class, 0 or 1.
        ids: [N].
        images: uint8 [N, S, S, 3].
        dreamed: made by the generator.
    """

    kind: str
    label: int
    ids: tuple[str, ...]
    images: Pixels
    dreamed: bool


def _dreamed_lot(pipeline: GalaxyPipeline, kind: Kind, n: int, *, seed: int, folder: Path) -> Lot:
    """`n` dreams of a kind, kept in `folder` for the next time; each kind and seed has galaxies of its own."""
    first = 10_000_000 * seed + 1_000_000 * SEEDS[kind.name]
    images = dream_kind(
        pipeline, kind, n, seed=first, keep=folder / f"{kind.name}-{kind.content_hash()}-{first}-{n}.npy"
    )
    ids = tuple(f"dreamed:{first + index}" for index in range(n))
    return Lot(kind.name, int(kind.name == "target"), ids, images, dreamed=True)


def dreamed_lots(
    pipeline: GalaxyPipeline, lesson: Lesson, *, target: int, near_misses: int, mix: int, seed: int, folder: Path
) -> list[Lot]:
    """Every kind of a lesson, the target first: so many dreams of it, of each near miss, and of the mix."""
    counts = {"target": target, MIX: mix}
    return [
        _dreamed_lot(pipeline, kind, counts.get(kind.name, near_misses), seed=seed, folder=folder)
        for kind in lesson.kinds
    ]


def split(lots: Sequence[Lot], held_out: float, seed: int) -> tuple[list[Lot], list[Lot]]:
    """Examples to learn from and to hold out: the same share of every kind, at least one where there are two."""
    learned, held = [], []
    for place, lot in enumerate(lots):
        order = np.random.default_rng([seed, place]).permutation(len(lot.ids))
        n = min(len(order) - 1, max(1, round(held_out * len(order)))) if len(order) > 1 else 0
        held.append(take(lot, order[:n]))
        learned.append(take(lot, order[n:]))
    return learned, held


def places(lot: Lot, member: int, members: int) -> npt.NDArray[np.int64]:
    """Which galaxies of a lot a member of the ensemble learns from: its own part of the unlabelled, all of others."""
    return np.arange(member, len(lot.ids), members) if lot.kind == UNLABELLED else np.arange(len(lot.ids))


def take(lot: Lot, places: npt.NDArray[np.int64]) -> Lot:
    """Some galaxies of a lot, by number."""
    return Lot(lot.kind, lot.label, tuple(lot.ids[place] for place in places), lot.images[places], lot.dreamed)


def gallery(lots: Sequence[Lot]) -> Gallery:
    """The galaxies of some lots, to be found nearest."""
    if not lots:
        return Gallery((), np.empty((0, 8, 8, 3), np.uint8))
    return Gallery(tuple(name for lot in lots for name in lot.ids), np.concatenate([lot.images for lot in lots]))
