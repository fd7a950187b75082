"""Memory: does the model copy its training galaxies, or itself?

In: images or features of generated and of training galaxies. Out: nearest neighbours in pixels (in all eight
orientations) and in features, an alarm, the share of authentic galaxies (Alaa et al. 2022, arXiv 2102.08921),
duplicates, and the comparison of two models trained on disjoint halves (Campagne 2025, arXiv 2503.23127).

An image without grain is nearer to everything, so the median distance may lie below that of real galaxies without a
single copy; the alarm looks at the lower end, where copies are.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import binom
from torch import Tensor
from torch.nn import functional

from galaxysd.data.transforms import dihedral
from galaxysd.errors import InputError
from galaxysd.metrics.prdc import BLOCK, distance_blocks, distances_to_others
from galaxysd.stats import TooFewGalaxies, as_feature_pair, as_sample
from galaxysd.types import Flags, Floats, Ints

NEAR = 0.01  # of held-out galaxies lie nearer than this quantile of theirs, by definition
CHANCE = 0.01  # alarm: so many near ones would come up by chance less often than this
TWIN = 1e-4  # of all pairs of real galaxies are nearer than a pair of duplicates may be
TURNED = 1024  # training images compared at once, in each of 8 orientations
COARSE = 2  # px, side of the squares whose means are compared first
PAIRS = 2048  # compared at once at full resolution


@dataclass(frozen=True)
class Neighbours:
    """The nearest training galaxy of each of M galaxies.

    Attributes:
        distance: root mean square difference, 8-bit steps [M].
        index: which training galaxy [M].
        orientation: how it has to be turned to match, 0..7 as in `dihedral` [M].
    """

    distance: Floats
    index: Ints
    orientation: Ints


def nearest(queries: Tensor, train: Tensor | Iterable[Tensor]) -> Neighbours:
    """Nearest training image in any orientation for each query.

    The search is exact and rarely looks at full resolution: means over squares of pixels can only bring two images
    nearer (Jensen), so a pair whose means are further apart than the best pair so far needs no closer look. Distances
    that are returned are computed by subtraction, which the cancellation of large terms cannot spoil.

    Args:
        queries: uint8 [M, 3, S, S].
        train: uint8 [N, 3, S, S], or blocks of them in order, so that they need not all be in memory.
    """
    rows, coarse = _flat(queries), _coarse(queries).flatten(1)
    squares = coarse.square().sum(dim=1)
    best = np.full(len(queries), np.inf)  # mean square difference, in [0, 1]
    index, orientation = np.zeros((2, len(queries)), np.int64)
    start = 0

    def look(block: Tensor, turn: int, query: Ints, place: Ints) -> None:
        """Compare pairs at full resolution; of each query the nearest is kept, the first of equals."""
        apart = _mean_squares(rows, query, block, place, turn)
        order = np.lexsort((place, apart, query))
        chosen = order[np.unique(query[order], return_index=True)[1]]
        kept = chosen[apart[chosen] < best[query[chosen]]]
        best[query[kept]], index[query[kept]], orientation[query[kept]] = apart[kept], start + place[kept], turn

    for blocks in (train,) if isinstance(train, Tensor) else train:
        for block in torch.split(blocks, TURNED):
            means = _coarse(block)
            for turn in range(8):
                turned = _turned(means, turn).flatten(1)
                totals = turned.square().sum(dim=1)[None, :] + squares[:, None]
                # 1e-5 covers the rounding of a difference of large terms, so that a bound is never above the truth
                bound = (torch.addmm(totals, coarse, turned.T, alpha=-2) - 1e-5 * totals) / coarse.shape[1]
                least, place = bound.min(dim=1)
                hopeful = (least < torch.from_numpy(best)).nonzero()[:, 0]  # their best first, which spares many others
                look(block, turn, hopeful.numpy(), place[hopeful].numpy())
                bound[hopeful, place[hopeful]] = torch.inf
                near = (bound < torch.from_numpy(best)[:, None]).nonzero().numpy()
                for part in range(0, len(near), PAIRS):
                    look(block, turn, near[part : part + PAIRS, 0], near[part : part + PAIRS, 1])
            start += len(block)
    return Neighbours(np.sqrt(best) * 255, index, orientation)


def _flat(images: Tensor) -> Tensor:
    return images.flatten(1).float() / 255


def _coarse(images: Tensor) -> Tensor:
    """Means over squares of `COARSE` px where the side allows it, [N, 3, s, s]."""
    planes = images.float() / 255
    return functional.avg_pool2d(planes, COARSE) if images.shape[-1] % COARSE == 0 else planes


def _turned(images: Tensor, turn: int) -> Tensor:
    return dihedral(images, torch.full((len(images),), turn))


def _mean_squares(rows: Tensor, query: Ints, block: Tensor, place: Ints, turn: int) -> Floats:
    """Mean square difference of some queries and turned images of a block, pair by pair."""
    found, where = np.unique(place, return_inverse=True)
    images = _flat(_turned(block[found], turn))
    apart: Floats = (rows[query] - images[where]).square().mean(dim=1).double().numpy()
    return apart


def alarm(distances: Floats, real: Floats) -> tuple[float, bool]:
    """Share of `distances` below the 1st percentile of `real`, and whether it is more than chance allows.

    One percent is expected of galaxies that are no nearer than real ones; the alarm goes off where a binomial draw of
    that rate reaches the number found with a probability below `CHANCE`.
    """
    near = int((distances < np.quantile(real, NEAR)).sum())
    return near / len(distances), bool(binom.sf(near - 1, len(distances), NEAR) < CHANCE)


def nearest_features(queries: npt.ArrayLike, train: npt.ArrayLike, *, block: int = BLOCK) -> tuple[Floats, Ints]:
    """Distance to the nearest of `train` [N, D] and its index, for each of `queries` [M, D]; of equals the first.

    Raises:
        InputError: the features are not finite or of different width.
        TooFewGalaxies: one of both is empty.
    """
    ours, theirs = as_feature_pair(queries, train)
    distance, index = np.empty(len(ours)), np.empty(len(ours), np.int64)
    for part, distances in distance_blocks(ours, theirs, block):
        index[part] = distances.argmin(axis=1)
        distance[part] = distances.min(axis=1)
    return distance, index


def authentic(generated: npt.ArrayLike, train: npt.ArrayLike, *, block: int = BLOCK) -> Flags:
    """Which generated galaxies [M] are authentic; their share is AuthPct (Alaa et al. 2022).

    Let t be the training galaxy nearest to g, and u the training galaxy nearest to t (not t itself). g is authentic if
    d(g, t) > d(t, u): what it resembles has a nearer relative than g. A tie, as with copies of repeated training
    galaxies, is not authentic. Copies give 0; real galaxies that were not trained on give the real baseline, about one
    half in few dimensions and more in many.

    Args:
        generated: features [M, D].
        train: features of what the model was trained on [N, D].
        block: rows compared at once; bounds the memory, not the result.

    Raises:
        InputError: the features are not finite or of different width.
        TooFewGalaxies: there are fewer than two in training, or none generated.
    """
    ours, theirs = as_feature_pair(generated, train)
    if len(theirs) < 2:
        raise TooFewGalaxies("train: 1 galaxy, at least 2 are needed (neighbours among themselves)")
    distance, index = nearest_features(ours, theirs, block=block)
    found, place = np.unique(index, return_inverse=True)
    own = np.empty(len(found))
    for part, distances in distance_blocks(theirs[found], theirs, block):
        distances[np.arange(len(distances)), found[part]] = np.inf  # itself
        own[part] = distances.min(axis=1)
    flags: Flags = distance > own[place]
    return flags


@dataclass(frozen=True)
class Duplicates:
    """Generated galaxies that resemble another generated one too much.

    Attributes:
        distance: to the nearest other generated galaxy [M].
        index: which one [M].
        threshold: as near as only the nearest pairs of real galaxies are.
    """

    distance: Floats
    index: Ints
    threshold: float

    @property
    def flags(self) -> Flags:
        """Galaxies with a duplicate [M]; compare their share with that of equally many real galaxies."""
        return self.distance <= self.threshold


def duplicates(
    generated: npt.ArrayLike, real: npt.ArrayLike, *, quantile: float = TWIN, block: int = BLOCK
) -> Duplicates:
    """Find pairs of generated galaxies nearer than nearly all pairs of real ones.

    Args:
        generated: features [M, D].
        real: features [N, D].
        quantile: of the distances of all N (N - 1) / 2 real pairs.
        block: rows compared at once; bounds the memory, not the result.

    Raises:
        InputError: the features are not finite or of different width.
        TooFewGalaxies: the real pairs do not reach down to that quantile, or there is only one generated galaxy.
    """
    least = int(np.ceil((1 + np.sqrt(1 + 8 / quantile)) / 2))
    ours, theirs = as_feature_pair(generated, real, least=2, why="pairs")
    theirs = as_sample(theirs, "real", least=least, why=f"quantile {quantile:g} of their pairs")
    count = max(1, int(quantile * len(theirs) * (len(theirs) - 1) / 2))
    smallest = np.empty(0)
    for part, distances in distance_blocks(theirs, theirs, block):
        later = np.arange(len(theirs)) > np.arange(part.start, part.stop)[:, None]  # each pair once
        smallest = np.concatenate([smallest, distances[later]])
        if len(smallest) > count:
            smallest = np.partition(smallest, count - 1)[:count]
    distance, index = np.empty(len(ours)), np.empty(len(ours), np.int64)
    for part, distances in distances_to_others(ours, block):
        index[part], distance[part] = distances.argmin(axis=1), distances.min(axis=1)
    return Duplicates(distance, index, float(smallest.max()))


@dataclass(frozen=True)
class TwoModels:
    """Images of two models, paired by the noise they were made from.

    Attributes:
        same: root mean square difference of the two images from one noise, 8-bit steps [N].
        different: the same for images from different noise, median of each galaxy's [N].
        told: share of the images from different noise that are farther than the one from the same noise [N].
    """

    same: Floats
    different: Floats
    told: Floats

    @property
    def ratio(self) -> float:
        """Median of `same` over median of `different`: 0 where the models agree, 1 where noise decides nothing."""
        return float(np.median(self.same) / np.median(self.different))

    @property
    def agreement(self) -> float:
        """Mean of `told`: 1 where an image tells its noise across models, 0.5 where it does not."""
        return float(self.told.mean())


def two_models(
    first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8], *, prompts: npt.ArrayLike | None = None
) -> TwoModels:
    """Compare two models that were trained on disjoint halves of the data.

    Models that have learned the distribution draw nearly the same galaxy from the same noise, though they share no
    training galaxy; models that have learned their galaxies by heart do not (Kadkhodaie et al. 2024, arXiv 2310.02557;
    Campagne 2025, arXiv 2503.23127).

    Args:
        first: images of one model, uint8 [N, ...].
        second: images of the other from the same noise and prompts, in the same order.
        prompts: which prompt each image was made for [N]; only images of one prompt are compared, or else the prompt
            would tell them apart. None: all have the same.

    Raises:
        InputError: the arrays do not fit each other, or all images are equal.
        TooFewGalaxies: there is only one image of a prompt.
    """
    if first.shape != second.shape:
        raise InputError(f"second: images of shape {list(second.shape)}, but the first are {list(first.shape)}")
    groups = np.zeros(len(first), np.int64) if prompts is None else np.asarray(prompts)
    if groups.shape != (len(first),):
        raise InputError(f"prompts: {groups.size} of them for {len(first)} images")
    rows, others = (as_sample(one, "images", least=2, why="pairs").reshape(len(first), -1) for one in (first, second))
    same, different, told = np.empty((3, len(rows)))
    for prompt in np.unique(groups):
        members = np.flatnonzero(groups == prompt)
        if len(members) < 2:
            raise TooFewGalaxies(f"prompt {prompt}: 1 image, at least 2 are needed (different noise)")
        distances = np.concatenate([one for _, one in distance_blocks(rows[members], others[members])])
        distances /= np.sqrt(rows.shape[1])
        mine = distances.diagonal()
        apart = distances[~np.eye(len(members), dtype=bool)].reshape(len(members), -1)
        same[members], different[members] = mine, np.median(apart, axis=1)
        told[members] = ((apart > mine[:, None]) + 0.5 * (apart == mine[:, None])).mean(axis=1)
    if not different.any():
        raise InputError("images: all are equal, so they tell nothing about noise")
    return TwoModels(same, different, told)
