"""Synthetic galaxies for training: what to ask for each class, generated once for every run of an experiment.

In: a generator, the prompts of the classes or the votes of the galaxies it has learned from. Out: as many synthetic
galaxies per class as the largest run needs, and how many of them a given run takes of each class.

Two wordings: `prompt` asks every generated galaxy of a class with one of its prompts; `votes` asks with the vote
fractions of training galaxies of that class, told anew as in the generator's training (half in words, half with votes
cast anew).
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import torch
from pydantic import Field

from galaxysd.catalog.source import SourceTable
from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.diffusion.condition import answers_of, as_told
from galaxysd.diffusion.data import GalaxyPool
from galaxysd.diffusion.pipeline import BATCH, GalaxyPipeline, Request
from galaxysd.errors import InputError
from galaxysd.generation.synthesize import morphologies_of, synthesize
from galaxysd.prompts import Morphology
from galaxysd.settings import Settings
from galaxysd.types import Labels

WORDED, VOTES = 0.5, 20  # as the generator was told of its training galaxies (diffusion/task.py)

Prompts = Mapping[str, Sequence[str]]  # class -> what to generate for it


class SynthesisSettings(Settings):
    """What is generated."""

    wording: Literal["votes", "prompt"] = Field(default="votes", description="whose words ask for a generated galaxy")
    per_class: int = Field(default=2000, ge=1, description="generated galaxies of each class")
    guidance: float | None = Field(default=None, ge=0, description="null: the model's own")
    steps: int | None = Field(default=None, ge=1, description="null: the model's own")
    seed: int = Field(default=1_000_000, ge=0, description="of the first generated galaxy; the following count up")


def read_prompts(table: str | Path, classes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """What to generate, from a table with the columns `class` and `prompt`; a class may have several rows.

    Raises:
        InputError: unreadable, a column is missing, or a class is unknown or has no prompt.
    """
    source = SourceTable(table)
    for name in ("class", "prompt"):
        if name not in source.names:
            raise InputError(f"{table}: has no column {name!r} ({', '.join(source.names)}); expected class and prompt")
    frame = source.collect(source.scan({"class": pl.String(), "prompt": pl.String()}))
    prompts: dict[str, tuple[str, ...]] = {}
    for row, (name, prompt) in enumerate(frame.select("class", "prompt").iter_rows(), start=2):
        if name not in classes:
            raise InputError(f"{table}: row {row}: class {name!r} is not one of {', '.join(classes)}")
        if not prompt or not prompt.strip():
            raise InputError(f"{table}: row {row}: the prompt of {name!r} is empty; write 'galaxy' for any galaxy")
        prompts[name] = (*prompts.get(name, ()), prompt.strip())
    missing = [name for name in classes if name not in prompts]
    if missing:
        raise InputError(f"{table}: no prompt for class {missing[0]!r}; every class needs one")
    return prompts


def prompted(
    pipeline: GalaxyPipeline, prompts: Prompts, classes: Sequence[str], surveys: Sequence[str], n: int
) -> list[Morphology]:
    """N morphologies of each class from its prompts, which take turns, as do the surveys.

    Args:
        pipeline: understands the prompts.
        prompts: by class.
        classes: names, in order.
        surveys: tokens for prompts that name none; empty: the survey is left open.
        n: synthetic galaxies of each class.

    Raises:
        InputError: a class has no prompt, or the generator does not understand it.
    """
    asked: list[Morphology] = []
    for name in classes:
        try:
            understood = [pipeline.understand(prompt) for prompt in prompts.get(name, ()) if prompt]
        except InputError as error:
            raise InputError(f"class {name!r}: {error}") from None
        if not understood:
            raise InputError(f"class {name!r}: has no prompt; give one in the rules or in a table of prompts")
        open_to = surveys or (None,)
        for index in range(n):
            one = understood[index % len(understood)]
            token = one.survey or open_to[index // len(understood) % len(open_to)]
            asked.append(one.model_copy(update={"survey": token}))
    return asked


def voted(
    pool: GalaxyPool, labels: Labels, classes: Sequence[str], n: int, seed: int, surveys: Sequence[str]
) -> list[Morphology]:
    """N morphologies of each class from the votes of training galaxies of that class, told anew.

    Args:
        pool: the galaxies that the generator has learned from.
        labels: their classes [N], -1 for none.
        classes: names, in order.
        n: synthetic galaxies of each class.
        seed: of the draws.
        surveys: tokens that the generator knows; of a galaxy of another survey only the votes are told.

    Raises:
        InputError: a class has no galaxy in the pool.
    """
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    asked: list[Morphology] = []
    for index, name in enumerate(classes):
        members = np.flatnonzero(labels == index)
        if not len(members):
            raise InputError(
                f"class {name!r}: no training galaxy of the generator has these votes; use wording: prompt"
            )
        # every galaxy as often as any other, give or take one
        places = np.concatenate([rng.permutation(members) for _ in range(-(-n // len(members)))])[:n]
        told = as_told(pool.condition(places), answers_of(pool.tree), generator, rounded=WORDED, votes=VOTES)
        known, fractions = told.known.numpy(), told.fractions.double().numpy()
        blank = np.empty((n, 0, 0, 3), np.uint8)
        like = GalaxySet(blank, [""] * n, fractions=fractions, known=known, survey=told.survey.numpy())
        asked += morphologies_of(like, pool.tree, pool.surveys)
    return [one if one.survey in surveys else one.model_copy(update={"survey": None}) for one in asked]


def synthesize_pool(
    pipeline: GalaxyPipeline,
    asked: Sequence[Morphology],
    classes: Sequence[str],
    cache: str | Path,
    settings: SynthesisSettings,
) -> GalaxySet:
    """Generate everything that is asked for, or read what was synthetic before; an interrupted call is gone on with.

    Args:
        pipeline: the generator.
        asked: `settings.per_class` morphologies of each class, class by class.
        classes: names, in order.
        folder: for the synthetic galaxies.
        settings: how.

    Returns:
        The synthetic galaxies; their pixels stay on disk until they are used.

    Raises:
        InputError: the generator does not know an answer or survey, or the folder holds other synthetic galaxies.
    """
    sampling = pipeline.sampling(steps=settings.steps, guidance=settings.guidance)
    images = synthesize(pipeline, asked, settings.seed, cache, sampling=sampling)
    return GalaxySet(
        images,
        [f"generated:{settings.seed + index}" for index in range(len(asked))],
        labels=np.repeat(np.arange(len(classes)), settings.per_class),
        synthetic=True,
    )


def seconds_per_galaxy(pipeline: GalaxyPipeline, settings: SynthesisSettings) -> float:
    """How long one generated galaxy takes on this machine, s, from one batch."""
    sampling = pipeline.sampling(steps=settings.steps, guidance=settings.guidance)
    requests = [Request(Morphology(), seed) for seed in range(BATCH)]
    began = time.monotonic()
    list(pipeline.dream(requests, sampling))
    return (time.monotonic() - began) / BATCH


def need(real: Sequence[int], ratio: float, available: Sequence[int]) -> tuple[int, ...]:
    """How many synthetic galaxies each class gets: `ratio` times all real galaxies in all, the rarest classes first.

    Synthetic galaxies go where real galaxies lack, one by one to the class that has the fewest of both kinds, as long
    as it has synthetic galaxies left (water filling). With equally many real galaxies of every class, every class gets
    `ratio` times its own.

    Args:
        real: galaxies of each class [K].
        ratio: synthetic galaxies per real galaxy.
        available: synthetic galaxies of each class [K].
    """
    real_counts, left = np.asarray(real, dtype=np.int64), np.asarray(available, dtype=np.int64)
    wanted = min(round(ratio * int(real_counts.sum())), int(left.sum()))

    def given(level: int) -> Labels:
        return np.clip(level - real_counts, 0, left)

    low, high = 0, int((real_counts + left).max())
    while low < high:  # the highest level that asks for no more than is wanted
        middle = (low + high + 1) // 2
        low, high = (middle, high) if given(middle).sum() <= wanted else (low, middle - 1)
    found, above = given(low), given(low + 1)
    for index in np.flatnonzero(above > found)[: wanted - int(found.sum())]:
        found[index] += 1
    return tuple(found.tolist())
