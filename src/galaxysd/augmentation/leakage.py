"""The guard of the test set: no test galaxy may have been seen by a classifier, the generator or the encoder.

In: `GalaxySet` (data/galaxy_set.py) or dataset folders. Out: the galaxies that two sets share, found by id, by position
(2 arcsec), by equal pixels and by thumbnails (data/duplicates.py); and an error that names them.
"""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from galaxysd.catalog.sky import directions, nearest_within
from galaxysd.catalog.splits import SAME_ARCSEC
from galaxysd.data.dataset import Dataset
from galaxysd.data.duplicates import match, thumbnails
from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.errors import InputError
from galaxysd.types import Ints, Pixels

NAMED = 5  # ids in a message
SAME_IMAGE = 0.996  # correlation of two pictures of one galaxy at full resolution; of two galaxies, at most 0.9913


def split_of(datasets: Sequence[Dataset], split: str) -> GalaxySet:
    """All galaxies of a split, labelled or not (label -1): what a generator or an encoder was trained on.

    Raises:
        InputError: no such split, or images of different sizes.
    """
    parts = []
    for dataset in datasets:
        frame = dataset.catalog.frame.filter(pl.col("split") == split).select("id", "ra", "dec")
        blocks = [images for _, images in dataset.pixels(split)]
        side = dataset.info.size
        pixels = np.concatenate(blocks) if blocks else np.empty((0, side, side, 3), np.uint8)
        parts.append(
            GalaxySet(
                pixels,
                [f"{dataset.survey}:{name}" for name in frame["id"]],
                ra=frame["ra"].cast(pl.Float64).fill_null(np.nan).to_numpy(),
                dec=frame["dec"].cast(pl.Float64).fill_null(np.nan).to_numpy(),
            )
        )
    return GalaxySet.join(*parts)


def shared_galaxies(one: GalaxySet, other: GalaxySet, *, any_survey: bool = False) -> pl.DataFrame:
    """Galaxies that are in both sets.

    Args:
        one: N galaxies.
        other: M galaxies.
        any_survey: an id counts whatever survey stands before it, for labels of one's own.

    Returns:
        Columns `a`, `b` (ids), `place` (row of `one`) and `reason`, a row per galaxy of `one` and reason.
    """
    found = [*_by_id(one, other, any_survey), *_by_position(one, other), *_by_pixels(one, other)]
    rows = [(one.ids[a], other.ids[b], a, reason) for a, b, reason in found]
    schema = {"a": pl.String, "b": pl.String, "place": pl.Int64, "reason": pl.String}
    every = pl.DataFrame(rows, schema=schema, orient="row")
    return every.unique(["place", "reason"], keep="first", maintain_order=True)


def refuse_shared(test: GalaxySet, seen: Mapping[str, GalaxySet]) -> None:
    """Make sure that nobody has seen the test galaxies.

    Args:
        test: galaxies to measure with.
        seen: what each learner was trained on, by what to call it.

    Raises:
        InputError: naming the ids that were seen, by whom and how they were recognised.
    """
    for learner, examples in seen.items():
        shared = shared_galaxies(test, examples)
        if shared.height:
            pairs = [f"{a} = {b} ({reason})" for a, b, reason in shared.select("a", "b", "reason").iter_rows()]
            more = f" and {len(pairs) - NAMED} more" if len(pairs) > NAMED else ""
            raise InputError(
                f"test set: {shared['place'].n_unique()} galaxies are also in {learner}: {', '.join(pairs[:NAMED])}"
                f"{more}; build the datasets with --like so that a galaxy is in one split everywhere"
            )


Found = list[tuple[int, int, str]]


def _by_id(one: GalaxySet, other: GalaxySet, any_survey: bool) -> Found:
    def name(galaxy: str) -> str:
        return galaxy.partition(":")[2] if any_survey else galaxy

    where = {name(galaxy): index for index, galaxy in enumerate(other.ids)}
    return [(row, where[name(galaxy)], "same id") for row, galaxy in enumerate(one.ids) if name(galaxy) in where]


def _by_position(one: GalaxySet, other: GalaxySet) -> Found:
    def placed(examples: GalaxySet) -> tuple[Ints, npt.NDArray[np.float64]]:
        rows = np.flatnonzero(np.isfinite(examples.ra) & np.isfinite(examples.dec))
        return rows, directions(examples.ra[rows], examples.dec[rows])

    (rows, ours), (others, theirs) = placed(one), placed(other)
    if not len(rows) or not len(others):
        return []
    nearest, near = nearest_within(ours, theirs, SAME_ARCSEC)
    return [
        (int(a), int(others[b]), f"within {SAME_ARCSEC:g} arcsec")
        for a, b in zip(rows[near], nearest[near], strict=True)
    ]


def _by_pixels(one: GalaxySet, other: GalaxySet) -> Found:
    hashes = {_hash(image): index for index, image in enumerate(other.images)}
    equal = [(row, hashes[key]) for row, image in enumerate(one.images) if (key := _hash(image)) in hashes]
    numbers_a, numbers_b = (list(map(str, range(len(examples)))) for examples in (one, other))
    small_a, small_b = (thumbnails(examples.images) for examples in (one, other))
    alike = [
        (int(a), int(b))
        for a, b, _ in match(numbers_a, small_a, numbers_b, small_b).iter_rows()
        if _correlation(one, int(a), other, int(b)) > SAME_IMAGE
    ]
    return [(a, b, "same pixels") for a, b in equal + [pair for pair in alike if pair not in set(equal)]]


def _hash(image: Pixels) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()


def _correlation(one: GalaxySet, a: int, other: GalaxySet, b: int) -> float:
    """Correlation of two images at full resolution, 1 where their sizes differ and the thumbnails have to decide."""
    first, second = one.images[a], other.images[b]
    if first.shape != second.shape:
        return 1.0
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])
