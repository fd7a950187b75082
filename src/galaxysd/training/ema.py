"""Averages of the weights, the ones used for generation, whose length can be chosen after training.

An average with memory over the last `fraction` of the images seen so far weighs the weights after t images by
t^gamma, gamma = 1 / fraction - 1 (a power-function average: Karras et al. 2024, EDM2, arXiv 2312.02696, section 3.1). A
fixed decay would carry the random start along for long, or forget too fast late; this does neither. Two such averages,
stored now and then, are enough to rebuild one of any other length afterwards (EDM2, section 3.2).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn


class ExponentialMovingAverage:
    """An average over roughly the last `fraction` of the images seen.

    Attributes:
        fraction: memory as a fraction of the images seen so far.
        weights: the average, by the names of the model's state.
    """

    def __init__(self, model: nn.Module, *, fraction: float) -> None:
        """Args: model: its weights are copied. fraction: memory as a fraction of the images seen so far."""
        self.fraction = fraction
        self.weights: dict[str, Tensor] = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, *, images_seen: int, batch: int) -> None:
        """Fold the current weights in, after `images_seen` images of which `batch` came last."""
        share = min(1.0, batch / max(batch, self.fraction * images_seen))
        current = model.state_dict()
        torch._foreach_lerp_(list(self.weights.values()), [current[name] for name in self.weights], share)


@dataclass(frozen=True)
class Snapshot:
    """A stored average: its memory, when it was stored, and the weights."""

    fraction: float
    images_seen: int
    weights: dict[str, Tensor]


def synthesise(snapshots: Sequence[Snapshot], fraction: float, images_seen: int) -> dict[str, Tensor]:
    """The average with another memory, from stored ones (EDM2 eq. 4 and algorithm 3).

    The weights over time of the wanted average are approached, in least squares, by a sum of those of the stored ones.

    Args:
        snapshots: of one training.
        fraction: memory of the wanted average.
        images_seen: when it is wanted, at most that of the last snapshot.

    Returns:
        Its weights, float32.

    Raises:
        ValueError: there are no snapshots.

    Example:
        >>> one = Snapshot(0.1, 1000, {"w": torch.tensor([2.0])})
        >>> synthesise([one], 0.1, 1000)["w"]
        tensor([2.])
    """
    if not snapshots:
        raise ValueError("no snapshots to build an average from")
    profiles = [(1 / item.fraction - 1, item.images_seen) for item in snapshots]
    wanted = (1 / fraction - 1, images_seen)
    gram = np.array([[_overlap(one, other) for other in profiles] for one in profiles])
    target = np.array([_overlap(one, wanted) for one in profiles])
    shares = np.linalg.lstsq(gram, target, rcond=1e-10)[0]
    shares /= shares.sum()
    found = {name: torch.zeros_like(value, dtype=torch.float32) for name, value in snapshots[0].weights.items()}
    for share, item in zip(shares, snapshots, strict=True):
        for name, value in item.weights.items():
            found[name] += float(share) * value.float()
    return found


def _overlap(one: tuple[float, int], other: tuple[float, int]) -> float:
    """Integral of the product of two profiles (gamma + 1) t^gamma / T^(gamma + 1), t from 0 to the smaller T."""
    (gamma, end), (gamma_other, end_other) = one, other
    power = gamma + gamma_other + 1
    scale = (gamma + 1) * (gamma_other + 1) / power
    smaller = min(end, end_other)
    return float(scale * (smaller / end) ** (gamma + 1) * (smaller / end_other) ** (gamma_other + 1) / smaller)


@contextmanager
def swapped(model: nn.Module, weights: dict[str, Tensor]) -> Iterator[None]:
    """The model with other weights for the length of a block; its own are back afterwards, whatever happens."""
    own = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(weights)
    try:
        yield
    finally:
        model.load_state_dict(own)
