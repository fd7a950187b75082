"""Exponential moving average of the weights, the ones used for generation."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class ExponentialMovingAverage:
    """Average over roughly the last `fraction` of the images seen.

    A fixed decay would carry the random start along for long, or forget too fast late; a memory that grows with the
    number of images seen (a power-function average, Karras et al. 2024, EDM2 section 3.1) does neither.
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


@contextmanager
def swapped(model: nn.Module, weights: dict[str, Tensor]) -> Iterator[None]:
    """The model with other weights for the length of a block; its own are back afterwards, whatever happens."""
    own = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(weights)
    try:
        yield
    finally:
        model.load_state_dict(own)
