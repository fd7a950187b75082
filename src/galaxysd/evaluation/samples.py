"""The samples that an evaluation compares: two halves of the held-out real galaxies, training galaxies, generated
galaxies.

In: dataset folders and a generator. Out: `Sample`s, images with what was voted or asked. One half of the real galaxies
is the reference; the other is the real baseline, what a perfect generator would reach, and lends its morphologies to
the generated galaxies, so that both are of the same kinds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from galaxysd.catalog.tree import DecisionTree
from galaxysd.data.framing import resize
from galaxysd.diffusion.data import GalaxyPool
from galaxysd.diffusion.folder import SamplingSettings
from galaxysd.diffusion.pipeline import GalaxyPipeline, Wish
from galaxysd.encoders.feature_table import shown
from galaxysd.errors import InputError
from galaxysd.io import replacing
from galaxysd.prompts.morphology import Morphology
from galaxysd.types import Flags, Floats, Ints, Pixels


@dataclass(frozen=True)
class Sample:
    """Galaxies with what was voted of real ones, or asked of generated ones.

    Attributes:
        images: uint8 [N, S, S, 3].
        fractions: [N, A], 0 where unknown.
        known: [N, Q].
        survey: [N] index of the survey token.
    """

    images: Pixels
    fractions: Floats
    known: Flags
    survey: Ints

    def __len__(self) -> int:
        return len(self.images)

    def take(self, places: Ints) -> "Sample":
        """Some of the galaxies."""
        return Sample(self.images[places], self.fractions[places], self.known[places], self.survey[places])


def real_sample(pool: GalaxyPool, places: Ints) -> Sample:
    """Galaxies of a pool."""
    told = pool.condition(places)
    images = np.ascontiguousarray(pool.images(places).permute(0, 2, 3, 1).numpy())
    return Sample(images, told.fractions.double().numpy(), told.known.numpy(), told.survey.numpy())


def halves(pool: GalaxyPool, n: int, seed: int) -> tuple[Sample, Sample]:
    """Two disjoint random samples of at most n galaxies each, equally large.

    Raises:
        InputError: the pool holds fewer than two galaxies.
    """
    if len(pool) < 2:
        raise InputError(f"the data hold {len(pool)} held-out galaxies; an evaluation needs two halves of them")
    order = np.random.default_rng(seed).permutation(len(pool))
    size = min(n, len(pool) // 2)
    return real_sample(pool, np.sort(order[:size])), real_sample(pool, np.sort(order[size : 2 * size]))


def morphologies(sample: Sample, tree: DecisionTree, surveys: Sequence[str]) -> list[Morphology]:
    """The morphology of each galaxy: the fractions of the questions that are known."""
    known = sample.known[:, tree.question_index]
    return [
        Morphology(
            survey=surveys[survey],
            fractions={name: float(value) for name, value, told in zip(tree.columns, row, flags, strict=True) if told},
        )
        for row, flags, survey in zip(sample.fractions, known, sample.survey, strict=True)
    ]


def dreams(
    pipeline: GalaxyPipeline,
    like: Sample,
    tree: DecisionTree,
    surveys: Sequence[str],
    *,
    settings: SamplingSettings,
    seed: int,
    keep: Path,
) -> Sample:
    """One generated galaxy for each galaxy of `like`, of its morphology and size; galaxy i has seed `seed` + i.

    Args:
        pipeline: the generator.
        like: real galaxies whose morphologies are asked for.
        tree: of `like`.
        surveys: tokens of `like`.
        settings: how to sample.
        seed: of the first galaxy.
        keep: file (.npy) for the images; if it is there with enough of them, it is read instead.

    Raises:
        InputError: the generator does not know an answer or survey.
    """
    wishes = [Wish(one, seed + index) for index, one in enumerate(morphologies(like, tree, surveys))]
    size = like.images.shape[1]
    shape = (len(wishes), size, size, 3)
    if not keep.is_file():
        batches = shown(pipeline.dream(wishes, settings), len(wishes), "dreaming")
        made = np.concatenate([images for _, images in batches])
        with replacing(keep) as partial:
            np.save(partial, at_size(made, size), allow_pickle=False)
    images = np.load(keep, allow_pickle=False)
    if images.shape != shape or images.dtype != np.uint8:
        raise InputError(f"{keep}: holds {list(images.shape)}, expected {list(shape)}; delete it")
    return Sample(images, like.fractions, like.known, like.survey)


def spread(images: Pixels, count: int) -> Pixels:
    """At most so many images, evenly from the whole of a sample: samples are in the order of surveys."""
    return images[np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(np.int64)]


def at_size(images: Pixels, size: int) -> Pixels:
    """Images uint8 [N, S, S, 3] at another size by the one resize rule (data/framing.py), or as they are."""
    return images if images.shape[1] == size else np.stack([resize(image, size) for image in images])


def blocks(pool: GalaxyPool, size: int = 1024) -> Iterator[Tensor]:
    """All images of a pool, uint8 [B, 3, S, S] at a time."""
    for start in range(0, len(pool), size):
        yield pool.images(np.arange(start, min(start + size, len(pool))))
