"""The real galaxies that generators are judged against, with everything that is measured of images.

In: dataset folders, an encoder, a cache. Out: halves of the held-out galaxies, features, distances to the training
galaxies, measurements and readers; each is computed once and found again by whoever has the same cache (cache.py).
The training galaxies are read a block at a time.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor

from galaxysd.data.dataset import Dataset
from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.diffusion.data import DataSettings, GalaxyPool
from galaxysd.encoders.galaxyemb import Encoder
from galaxysd.errors import InputError
from galaxysd.evaluation.cache import Cache, images_hash
from galaxysd.evaluation.reader import Readers, ReaderSettings, train_readers
from galaxysd.metrics.memorization import nearest
from galaxysd.metrics.morphology import measure_morphology
from galaxysd.metrics.photometry import measure_light
from galaxysd.types import Floats, Ints, Pixels

MEASURED = {  # column: name in the report
    "concentration": "concentration",
    "asymmetry": "asymmetry",
    "smoothness": "smoothness",
    "gini": "Gini",
    "m20": "M20",
    "ellipticity": "ellipticity",
    "half_light_radius": "half-light radius, px",
    "sersic_index": "Sérsic index",
    "total_light": "total light",
    "g_r": "g - r of the picture",
    "r_i": "r - i of the picture",
    "sky_noise": "sky noise, 8-bit steps",
}


def real_sample(pool: GalaxyPool, indices: Ints) -> GalaxySet:
    """Galaxies of a pool, by number."""
    told = pool.condition(indices)
    return GalaxySet(
        np.ascontiguousarray(pool.images(indices).permute(0, 2, 3, 1).numpy()),
        [pool.ids[index] for index in indices],
        fractions=told.fractions.double().numpy(),
        known=told.known.numpy(),
        survey=told.survey.numpy(),
    )


def halves(pool: GalaxyPool, n: int, seed: int) -> tuple[GalaxySet, GalaxySet]:
    """Two disjoint random samples of at most n galaxies each, equally large.

    Raises:
        InputError: the pool holds fewer than two galaxies.
    """
    if len(pool) < 2:
        raise InputError(f"the data hold {len(pool)} held-out galaxies; an evaluation needs two halves of them")
    order = np.random.default_rng(seed).permutation(len(pool))
    size = min(n, len(pool) // 2)
    return real_sample(pool, np.sort(order[:size])), real_sample(pool, np.sort(order[size : 2 * size]))


def evenly(images: Pixels, count: int) -> Pixels:
    """At most so many images, evenly from the whole of a sample: samples are in the order of surveys."""
    return images[np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(np.int64)]


def blocks(pool: GalaxyPool, size: int = 1024) -> Iterator[Tensor]:
    """All images of a pool, uint8 [B, 3, S, S] at a time."""
    for start in range(0, len(pool), size):
        yield pool.images(np.arange(start, min(start + size, len(pool))))


class ReferenceData:
    """Real galaxies, opened.

    Attributes:
        datasets: as given.
        identity: survey and hash of the inputs of each dataset, and which answers are believed.
        encoder: whose features are compared.
        cache: of results.
        pools: galaxies of each split.
    """

    def __init__(self, folders: Sequence[str | Path], data: DataSettings, encoder: Encoder, cache: Cache) -> None:
        """Open the datasets.

        Raises:
            InputError: they are damaged, do not fit each other, or lack a split.
        """
        self.datasets = [Dataset.open(folder) for folder in folders]
        self.inputs = tuple(f"{dataset.survey}:{dataset.info.inputs}" for dataset in self.datasets)
        self.identity = (*self.inputs, data.content_hash())
        self.encoder, self.cache = encoder, cache
        self.pixels = cache.place("pixels", *self.inputs, data.withhold)
        self.pools = {split: GalaxyPool(self.datasets, split, data, self.pixels) for split in ("train", "val", "test")}
        self.tree, self.surveys = self.pools["test"].tree, self.pools["test"].surveys
        self.size = self.pools["test"].files[0].size

    def halves(self, n: int, seed: int) -> tuple[GalaxySet, GalaxySet]:
        """Reference and real baseline: disjoint held-out galaxies, at most n each.

        Raises:
            InputError: there are fewer than two held-out galaxies.
        """
        return halves(self.pools["test"], n, seed)

    def features(self, images: Pixels) -> Floats:
        """Features of images uint8 [N, S, S, 3], float64 [N, D]."""
        return self.cache.array(
            "features", self.encoder.hash, images_hash(images), compute=lambda: self.encoder.features(images)
        )

    @cached_property
    def train_features(self) -> Floats:
        """Features of all training galaxies, float64 [N, D]."""

        def compute() -> npt.NDArray[np.float32]:
            shown = (block.permute(0, 2, 3, 1).contiguous().numpy() for block in blocks(self.pools["train"]))
            return np.concatenate([self.encoder.features(images) for images in shown])

        return self.cache.array("train-features", self.encoder.hash, *self.identity, compute=compute)

    def to_train(self, images: Pixels) -> Floats:
        """Distance of each image to the nearest training galaxy in any of 8 orientations, 8-bit steps [N]."""
        planes = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        return self.cache.array(
            "nearest",
            *self.identity,
            images_hash(images),
            compute=lambda: nearest(planes, blocks(self.pools["train"])).distance,
        )

    def measure(self, images: Pixels) -> pl.DataFrame:
        """Morphology and light of images, a row each, columns of `MEASURED`; `measured` where both could be had."""
        return self.cache.table("measured", images_hash(images), compute=lambda: _measure(images))

    def readers(self, settings: ReaderSettings, seed: int) -> Readers:
        """Readers of the training galaxies.

        Raises:
            InputError: the training was interrupted; it goes on the next time.
        """
        folder = self.cache.place("readers", settings.content_hash(), seed, *self.inputs)
        pixels = self.cache.place("pixels", *self.inputs, settings.data.withhold)
        return train_readers(self.datasets, folder, settings, pixels=pixels, seed=seed)

    def read(self, images: Pixels, settings: ReaderSettings, seed: int) -> Floats:
        """Fractions [N, A] that the readers see in images.

        Raises:
            InputError: as `readers`.
        """
        parts = (settings.content_hash(), seed, *self.inputs, images_hash(images))
        return self.cache.array("read", *parts, compute=lambda: self.readers(settings, seed).read(images))


def _measure(images: Pixels) -> pl.DataFrame:
    shape, light = measure_morphology(images), measure_light(images)
    both = shape["measured"] & light["measured"]
    columns = [shape[name] if name in shape.columns else light[name] for name in MEASURED]
    return pl.DataFrame([*columns, both])
