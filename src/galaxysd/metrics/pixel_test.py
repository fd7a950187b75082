"""Real or generated, at full resolution: a small convolutional network trained for the test, by cross-validation.

In: uint8 images [M, S, S, 3] to judge, real ones [N, S, S, 3] to hold them against, and more real ones to learn from.
Out: the area under its ROC curve on images it has not learned from (`c2st.py` does the same on features). No training
of a generator has seen this network, and it looks at single pixels, so texture cannot hide from it.

Its inputs are the pixels and what a 3x3 mean takes from them, which shows grain that the eye does not see.
"""

import itertools

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from galaxysd.data.transforms import dihedral
from galaxysd.metrics.c2st import area
from galaxysd.metrics.morphology import as_images
from galaxysd.stats import LEAST, Estimate, TooFewGalaxies, bootstrap
from galaxysd.types import Floats, Pixels

WIDTHS = (24, 48, 64, 96)  # channels at 1, 1/2, 1/4, 1/8 of the resolution
GRAIN_GAIN = 8.0  # the fine part is a tenth as bright as the whole


class _Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        channels = (6, *WIDTHS)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(one, other, 3, stride=1 if index == 0 else 2, padding=1)
            for index, (one, other) in enumerate(itertools.pairwise(channels))
        )
        self.norms = nn.ModuleList(nn.GroupNorm(8, width) for width in WIDTHS)
        self.score = nn.Linear(2 * WIDTHS[-1] + WIDTHS[0], 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 [B, 3, S, S] -> logits [B]: high for generated."""
        images = pixels.float() / 127.5 - 1
        fine = images - functional.avg_pool2d(functional.pad(images, (1, 1, 1, 1), mode="reflect"), 3, stride=1)
        features, texture = torch.cat([images, GRAIN_GAIN * fine], dim=1), None
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            features = functional.silu(norm(convolution(features)))
            texture = features.mean(dim=(2, 3)) if texture is None else texture
        assert texture is not None
        pooled = torch.cat([features.mean(dim=(2, 3)), features.amax(dim=(2, 3)), texture], dim=1)
        logits: Tensor = self.score(pooled)[:, 0]
        return logits


def pixel_test(
    judged: Pixels,
    real: Pixels,
    learned_from: Pixels,
    *,
    seed: int,
    folds: int = 3,
    steps: int = 240,
    batch: int = 48,
) -> Estimate:
    """Area under the ROC curve of a network that tells `judged` from real images.

    In each fold the network learns from the other folds of `judged` and from `learned_from`, the same number of both in
    a batch, turned and flipped, and scores the images of its fold of `judged` and of `real`.

    Args:
        judged: generated galaxies, or other real ones for what luck reaches.
        real: real galaxies that are scored.
        learned_from: real galaxies that are neither in `real` nor in `judged`.
        seed: of folds, weights and batches.
        folds: of the cross-validation.
        steps: of training in each fold.
        batch: images a step.

    Returns:
        Mean over the folds, with the bootstrap interval of the scores.

    Raises:
        InputError: the images are not of that shape.
        TooFewGalaxies: there are fewer than `LEAST` a fold.
    """
    samples = [as_images(one, least=16) for one in (judged, real, learned_from)]
    if min(map(len, samples)) < LEAST * folds:
        raise TooFewGalaxies(f"images: {min(map(len, samples))}, at least {LEAST * folds} are needed ({folds} folds)")
    ours, theirs, teachers = (torch.from_numpy(np.ascontiguousarray(one.transpose(0, 3, 1, 2))) for one in samples)
    rng = np.random.default_rng(seed)
    places = [rng.permutation(len(one)) % folds for one in (ours, theirs)]
    scored: list[tuple[Floats, Floats]] = []
    for fold in range(folds):
        network = _trained(ours[places[0] != fold], teachers, seed=seed + fold, steps=steps, batch=batch)
        mine, others = (_scores(network, one[place == fold]) for one, place in zip((ours, theirs), places, strict=True))
        scored.append((others, mine))
    parts = [bootstrap(area, *pair, seed=seed, resamples=500) for pair in scored]
    value = float(np.mean([one.value for one in parts]))
    half = 1.96 * float(np.sqrt(sum(((one.high - one.low) / 3.92) ** 2 for one in parts))) / folds
    half *= float(np.sqrt(1 + folds / (folds - 1)))  # other images would have trained other networks (c2st.py)
    return Estimate(value=value, low=max(0.0, value - half), high=min(1.0, value + half), n=min(len(ours), len(theirs)))


def _trained(ours: Tensor, theirs: Tensor, *, seed: int, steps: int, batch: int) -> _Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _Network()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=steps, cycle_momentum=False)
    generator = torch.Generator().manual_seed(seed)
    labels = torch.cat([torch.ones(batch // 2), torch.zeros(batch - batch // 2)])
    for _ in range(steps):
        mine = torch.randint(len(ours), (batch // 2,), generator=generator)
        others = torch.randint(len(theirs), (batch - batch // 2,), generator=generator)
        turns = torch.randint(8, (batch,), generator=generator)
        images = dihedral(torch.cat([ours[mine], theirs[others]]), turns)
        loss = functional.binary_cross_entropy_with_logits(network(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    network.eval()
    return network


@torch.inference_mode()
def _scores(network: _Network, images: Tensor) -> Floats:
    """Mean logit over the eight orientations [N]."""
    total = torch.zeros(len(images))
    for turn in range(8):
        turned = dihedral(images, torch.full((len(images),), turn))
        total += torch.cat([network(block) for block in torch.split(turned, 64)])
    return (total / 8).double().numpy()
