"""Walks through what the model knows: one galaxy under changing requests, so that only what is asked for changes.

Interpolation between two morphologies, one seed under several prompts, and one phrase at several weights. Every walk
returns a `Walk`, a row of images that share a seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from galaxysd.diffusion.folder import SamplingSettings
from galaxysd.diffusion.pipeline import GalaxyPipeline, Request, check_seed
from galaxysd.errors import InputError
from galaxysd.prompts import Morphology

Prompt = str | Morphology


@dataclass(frozen=True)
class Walk:
    """A row of images.

    Attributes:
        images: uint8 [N, S, S, 3].
        labels: what each one was asked for.
        seed: the one seed behind all of them.
    """

    images: npt.NDArray[np.uint8]
    labels: tuple[str, ...]
    seed: int


def interpolation(
    pipeline: GalaxyPipeline,
    start: Prompt,
    end: Prompt,
    *,
    n: int = 8,
    seed: int = 0,
    sampling: SamplingSettings | None = None,
) -> Walk:
    """From one morphology to another in `n` even steps, both ends included (`Morphology.blend`).

    Raises:
        InputError: fewer than two steps, or a prompt that is not understood.
    """
    if n < 2:
        raise InputError(f"an interpolation needs at least 2 images, not {n}")
    first, last = (pipeline.framed(pipeline.understand(one)) for one in (start, end))
    amounts = [index / (n - 1) for index in range(n)]
    labels = tuple(f"{amount:.0%}" for amount in amounts)
    return _walk(pipeline, [first.blend(last, amount) for amount in amounts], labels, seed, sampling)


def same_seed(
    pipeline: GalaxyPipeline, prompts: Sequence[str], *, seed: int = 0, sampling: SamplingSettings | None = None
) -> Walk:
    """The same noise under different prompts.

    Raises:
        InputError: no prompts, or one that is not understood.
    """
    if not prompts:
        raise InputError("no prompts are given")
    return _walk(
        pipeline, [pipeline.framed(pipeline.understand(prompt)) for prompt in prompts], tuple(prompts), seed, sampling
    )


def weight_sweep(
    pipeline: GalaxyPipeline,
    template: str,
    weights: Sequence[float],
    *,
    seed: int = 0,
    sampling: SamplingSettings | None = None,
) -> Walk:
    """The same noise while one phrase counts less or more.

    Args:
        pipeline: the model.
        template: a prompt that holds `<w>` where the weight belongs, e.g. `sdss, spiral galaxy, {bar:<w>}`.
        weights: each above 0 and at most 5.
        seed: of every image.
        sampling: default from the model.

    Raises:
        InputError: no weights, no `<w>`, or a prompt that is not understood.
    """
    if not weights or "<w>" not in template:
        raise InputError(f"a weight sweep needs weights and a prompt with <w> in it, not {template!r}")
    prompts = [template.replace("<w>", f"{weight:g}") for weight in weights]
    labels = tuple(f"{weight:g}" for weight in weights)
    return _walk(pipeline, [pipeline.framed(pipeline.understand(prompt)) for prompt in prompts], labels, seed, sampling)


def _walk(
    pipeline: GalaxyPipeline,
    morphologies: Sequence[Morphology],
    labels: tuple[str, ...],
    seed: int,
    sampling: SamplingSettings | None,
) -> Walk:
    check_seed(seed)
    requests = [Request(morphology, seed) for morphology in morphologies]
    batches = [images for _, images in pipeline.dream(requests, sampling or pipeline.sampling())]
    return Walk(np.concatenate(batches), labels, seed)
