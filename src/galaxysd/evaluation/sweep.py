"""The front between consistency, diversity and realism over guidance and steps (Astolfi et al. 2024, arXiv 2406.10429).

In: a model, real datasets, an encoder, a grid of sampling settings. Out: OUT/sweep.json, for each setting the same
galaxies asked for from the same noise: how often readers see what was asked (consistency), the share of real galaxies
with a generated galaxy nearby (diversity, coverage), the share of generated galaxies that lie among real galaxies
(realism, precision), and the kernel distance; beside them the same of real galaxies. Nothing is chosen: the front is
shown, with the model's own settings marked. The same command again takes up what is done, and shares the cache of
`evaluate`.
"""

import itertools
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.diffusion.folder import SamplingSettings
from galaxysd.diffusion.pipeline import GalaxyPipeline
from galaxysd.encoders.galaxyemb import Encoder
from galaxysd.evaluation.cache import Cache
from galaxysd.evaluation.evaluate import CACHE, EvaluationSettings
from galaxysd.evaluation.reference import ReferenceData
from galaxysd.generation.synthesize import synthesize_like
from galaxysd.io import write_atomically
from galaxysd.metrics.consistency import Reading, right_shares
from galaxysd.metrics.kid import kid
from galaxysd.metrics.prdc import prdc
from galaxysd.reports import figures
from galaxysd.runs import Run
from galaxysd.settings import FrozenModel, Settings
from galaxysd.stats import LEAST, Estimate, bootstrap


class SweepSettings(Settings):
    """Which settings are tried."""

    n: int = Field(default=250, ge=LEAST, description="galaxies generated with each setting")
    guidance: tuple[float, ...] = Field(default=(1.0, 1.5, 2.0, 3.0), min_length=1, description="scales, 1 is none")
    to_level: tuple[float, ...] = Field(default=(0.95, 1.0), min_length=1, description="highest noise level guided")
    steps: tuple[int, ...] = Field(default=(6, 12), min_length=1, description="noise levels")


class SweepIdentity(FrozenModel):
    """What makes two sweeps the same."""

    sweep: SweepSettings
    settings: EvaluationSettings
    model: str
    encoder: str
    datasets: tuple[str, ...]


class SweepPoint(FrozenModel):
    """What one setting reaches."""

    sampling: SamplingSettings | None = Field(description="null: real galaxies")
    own: bool = Field(description="whether these are the model's own settings")
    consistency: Estimate = Field(description="share of clear questions that are read as asked")
    diversity: Estimate = Field(description="coverage")
    realism: Estimate = Field(description="precision")
    kernel: Estimate = Field(description="kernel distance")
    seconds: float | None = Field(description="s for all galaxies; null: they were there already, or are real")

    @property
    def label(self) -> str:
        """Short text for a drawing."""
        if self.sampling is None:
            return "real galaxies"
        guidance = self.sampling.guidance
        text = f"{guidance.scale:g} / {guidance.to_level:g} / {self.sampling.steps}"
        return f"{text} (own)" if self.own else text


class Sweep(FrozenModel):
    """`sweep.json`."""

    model: str
    model_hash: str
    encoder: str
    n: int
    seed: int
    points: tuple[SweepPoint, ...] = Field(description="real galaxies first, then the grid, the model's own last")


def sweep(
    datasets: Sequence[str | Path],
    out: str | Path,
    *,
    model: str | Path,
    encoder: Encoder,
    settings: EvaluationSettings,
    grid: SweepSettings,
    cache: str | Path | None = None,
) -> Sweep:
    """Score every setting of the grid, and the model's own.

    Args:
        datasets: as for `evaluate`.
        out: folder of the sweep.
        model: a shipped model or a model folder.
        encoder: whose features are compared.
        settings: seed, neighbours and readers, as for `evaluate`.
        grid: what is tried.
        cache: as for `evaluate`; None: `evaluation-cache` beside `out`.

    Raises:
        InputError: a setting is out of range, or the data are too few or do not fit the model.
    """
    reference_data = ReferenceData(datasets, settings.data, encoder, Cache(cache or Path(out).parent / CACHE))
    pipeline = GalaxyPipeline.from_pretrained(model)
    own = pipeline.sampling()
    tried = []
    for scale, top, steps in itertools.product(grid.guidance, grid.to_level, grid.steps):
        setting = pipeline.sampling(steps=steps, guidance=scale).model_dump()
        setting["guidance"]["to_level"] = top
        tried.append(SamplingSettings.parse(setting, "sampling"))
    run = Run.open(
        out,
        SweepIdentity(
            sweep=grid,
            settings=settings,
            model=pipeline.model_hash,
            encoder=encoder.hash,
            datasets=reference_data.inputs,
        ),
    )
    if run.summary is not None:
        return Sweep.parse(run.summary, str(run.folder / "done.json"))
    reference, real_baseline = reference_data.halves(settings.n, settings.seed)
    asked = real_baseline.subset(np.random.default_rng(settings.seed).permutation(len(real_baseline))[: grid.n])
    points = [_point(reference_data, asked, reference, settings, sampling=None, own=False, seconds=None)]
    for sampling in [*(one for one in tried if one != own), own]:
        keep = run.folder / f"dreamed-{sampling.content_hash()}.npy"
        there, began = keep.is_file(), time.monotonic()
        made = synthesize_like(
            pipeline,
            asked,
            reference_data.tree,
            reference_data.surveys,
            sampling=sampling,
            seed=settings.seed,
            cache=keep,
        )
        seconds = None if there else round(time.monotonic() - began, 2)
        points.append(
            _point(reference_data, made, reference, settings, sampling=sampling, own=sampling == own, seconds=seconds)
        )
        run.log(label=points[-1].label, seconds=seconds)
    result = Sweep(
        model=str(model),
        model_hash=pipeline.model_hash,
        encoder=encoder.name,
        n=len(asked),
        seed=settings.seed,
        points=tuple(points),
    )
    write_atomically(run.folder / "sweep.json", result.model_dump_json(indent=2) + "\n")
    run.finish(result.model_dump(mode="json"))
    return result


def front(result: Sweep) -> bytes:
    """The front as a PNG file."""
    return figures.front(
        [
            figures.Point(one.label, one.consistency.value, one.diversity.value, one.realism.value)
            for one in result.points
        ]
    )


def _point(
    reference_data: ReferenceData,
    made: GalaxySet,
    reference: GalaxySet,
    settings: EvaluationSettings,
    *,
    sampling: SamplingSettings | None,
    own: bool,
    seconds: float | None,
) -> SweepPoint:
    shares = right_shares(
        Reading(
            made.fractions,
            made.known,
            reference_data.read(made.images, settings.readers, settings.seed),
            reference_data.tree,
        )
    )
    features, real = reference_data.features(made.images), reference_data.features(reference.images)
    found = prdc(features, real, k=settings.neighbours)
    return SweepPoint(
        sampling=sampling,
        own=own,
        consistency=bootstrap(np.mean, shares[~np.isnan(shares)], seed=settings.seed),
        diversity=found.coverage,
        realism=found.precision,
        kernel=kid(features, real, seed=settings.seed),
        seconds=seconds,
    )
