"""Galaxies in memory: images with whatever is known of them, real and synthetic alike.

In: images and arrays of equal length. Out: a `GalaxySet`, which can be cut into subsets and joined. Networks want
their images as planes; everybody else sees them as pictures.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from galaxysd.errors import InputError
from galaxysd.types import Flags, Floats, Ints, Labels, Pixels

UNLABELLED = -1


class GalaxySet:
    """N galaxies.

    Attributes:
        images: uint8 [N, S, S, 3].
        ids: [N], `survey:id` of real galaxies, `generated:SEED` of synthetic ones.
        labels: number of the class [N], -1 where there is none.
        fractions: conditional answer fractions, voted or asked for [N, A], 0 where unknown; A = 0 if nobody asked.
        known: questions that are known [N, Q].
        survey: index of the survey token [N].
        synthetic: whether a generator made it [N].
        ra, dec: position, deg [N]; NaN where it is unknown.

    Example:
        >>> pair = GalaxySet(np.zeros((2, 8, 8, 3), np.uint8), ["toy:a", "toy:b"], labels=[1, 0])
        >>> pair.subset(pair.labels == 0).ids
        ('toy:b',)
    """

    def __init__(
        self,
        images: Pixels,
        ids: Sequence[str],
        *,
        labels: npt.ArrayLike | None = None,
        fractions: Floats | None = None,
        known: Flags | None = None,
        survey: npt.ArrayLike | None = None,
        synthetic: npt.ArrayLike = False,
        ra: npt.ArrayLike | None = None,
        dec: npt.ArrayLike | None = None,
    ) -> None:
        """Take the arrays as they are; those that are left out say that nothing is known.

        Raises:
            ValueError: they are of different lengths.
        """
        n = len(ids)
        self.images, self.ids = images, tuple(ids)
        self.labels: Labels = np.full(n, UNLABELLED) if labels is None else np.asarray(labels, np.int64)
        self.fractions: Floats = np.zeros((n, 0)) if fractions is None else fractions
        self.known: Flags = np.zeros((n, 0), bool) if known is None else known
        self.survey: Ints = np.zeros(n, np.int64) if survey is None else np.asarray(survey, np.int64)
        made = np.asarray(synthetic, bool)
        self.synthetic: Flags = np.full(n, bool(made)) if made.ndim == 0 else made
        self.ra: Floats = np.full(n, np.nan) if ra is None else np.asarray(ra, np.float64)
        self.dec: Floats = np.full(n, np.nan) if dec is None else np.asarray(dec, np.float64)
        lengths = {n, len(images), *(len(one) for one in self._columns().values())}
        if len(lengths) != 1:
            raise ValueError(f"arrays of different lengths: {sorted(lengths)}")

    def _columns(self) -> dict[str, npt.NDArray[np.generic]]:
        """All but images and ids, by name."""
        names = ("labels", "fractions", "known", "survey", "synthetic", "ra", "dec")
        return {name: getattr(self, name) for name in names}

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        made = int(self.synthetic.sum())
        return f"GalaxySet({len(self)} galaxies of {self.size} px, {made} synthetic)"

    @property
    def size(self) -> int:
        """Side of the images, px."""
        return int(self.images.shape[1])

    def subset(self, indices: npt.ArrayLike) -> Self:
        """Some of the galaxies, by number or by a flag each, in that order."""
        chosen = np.asarray(indices)
        chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
        parts = {name: values[chosen] for name, values in self._columns().items()}
        return type(self)(self.images[chosen], [self.ids[index] for index in chosen], **parts)  # type: ignore[arg-type]

    @classmethod
    def join(cls, *others: Self) -> Self:
        """The galaxies of several, one after the other.

        Raises:
            InputError: their images differ in size.
        """
        sizes = {one.images.shape[1:] for one in others}
        if len(sizes) != 1:
            raise InputError(f"images of different sizes cannot be joined: {sorted(size[0] for size in sizes)} px")
        columns = [one._columns() for one in others]
        parts = {name: np.concatenate([each[name] for each in columns]) for name in columns[0]}
        ids = [name for one in others for name in one.ids]
        return cls(np.concatenate([one.images for one in others]), ids, **parts)

    def counts(self, classes: int) -> Labels:
        """Galaxies per class [K]."""
        return np.bincount(self.labels, minlength=classes)

    def planes(self, indices: npt.ArrayLike | None = None) -> Tensor:
        """All images, or some by number, as networks take them: uint8 [B, 3, S, S]."""
        images = self.images if indices is None else self.images[np.asarray(indices)]
        return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
