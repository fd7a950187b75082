"""Two models trained on disjoint halves: do they draw the same galaxy from the same noise? (`memory.two_models`)

In: two model folders, real datasets for the morphologies to ask for. Out: OUT/twins.json: the agreement of the models
between chance (noise decides nothing, as if each had learned its galaxies by heart) and 1 (Kadkhodaie et al. 2024,
arXiv 2310.02557; Campagne 2025, arXiv 2503.23127). That the halves were disjoint is for whoever trained them to know.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from galaxysd.data.dataset import Dataset
from galaxysd.diffusion.data import DataSettings, GalaxyPool
from galaxysd.diffusion.pipeline import GalaxyPipeline
from galaxysd.errors import InputError
from galaxysd.evaluation.reference import halves
from galaxysd.generation.synthesize import synthesize_like
from galaxysd.io import write_atomically
from galaxysd.metrics.memorization import two_models
from galaxysd.runs import Run
from galaxysd.settings import FrozenModel, Settings
from galaxysd.stats import Score, bootstrap


class TwoModelSettings(Settings):
    """What is generated."""

    prompts: int = Field(default=16, ge=1, description="morphologies of real galaxies that are asked for")
    each: int = Field(default=8, ge=2, description="galaxies of each, from different noise")
    seed: int = Field(default=0, ge=0)


class TwoModelIdentity(FrozenModel):
    """What makes two comparisons the same."""

    settings: TwoModelSettings
    models: tuple[str, str] = Field(description="hashes")
    datasets: tuple[str, ...]


class TwoModelTest(FrozenModel):
    """`twins.json`."""

    models: tuple[str, str]
    hashes: tuple[str, str]
    agreement: Score = Field(
        description="share of the images from other noise that are further than the one from the same noise; "
        "straw man: the noise exchanged among galaxies of one morphology"
    )
    ratio: float = Field(ge=0, description="median difference from the same noise over that from different noise")


def compare_two_models(
    datasets: Sequence[str | Path],
    out: str | Path,
    *,
    models: tuple[str | Path, str | Path],
    settings: TwoModelSettings,
) -> TwoModelTest:
    """Generate the same galaxies from the same noise with both models and compare them in pixels.

    Args:
        datasets: whose held-out galaxies lend their morphologies.
        out: folder for the images and the result.
        models: shipped models or folders.
        settings: what is generated.

    Raises:
        InputError: the models are one and the same, or do not know the answers or surveys of the datasets.
    """
    pipelines = [GalaxyPipeline.from_pretrained(model) for model in models]
    first, second = (one.model_hash for one in pipelines)
    if first == second:
        raise InputError(f"{models[1]}: is the same model as {models[0]}; expected two trained on disjoint halves")
    opened = [Dataset.open(folder) for folder in datasets]
    inputs = tuple(f"{one.survey}:{one.info.inputs}" for one in opened)
    run = Run.open(out, TwoModelIdentity(settings=settings, models=(first, second), datasets=inputs))
    if run.summary is not None:
        return TwoModelTest.parse(run.summary, str(run.folder / "done.json"))
    pool = GalaxyPool(opened, "test", DataSettings(), run.folder / "pixels")
    _, asked = halves(pool, settings.prompts, settings.seed)
    groups = np.repeat(np.arange(len(asked)), settings.each)
    made = [
        synthesize_like(
            pipeline,
            asked.subset(groups),
            pool.tree,
            pool.surveys,
            sampling=pipeline.sampling(),
            seed=settings.seed,
            cache=run.folder / f"dreamed-{pipeline.model_hash}.npy",
        ).images
        for pipeline in pipelines
    ]
    found = two_models(*made, prompts=groups)
    shifted = np.roll(np.arange(len(groups)).reshape(len(asked), -1), 1, axis=1).ravel()
    own = bootstrap(np.mean, found.told, seed=settings.seed)
    result = TwoModelTest(
        models=(str(models[0]), str(models[1])),
        hashes=(first, second),
        agreement=Score(
            value=own.value,
            low=own.low,
            high=own.high,
            n=own.n,
            seed=settings.seed,
            real_baseline=None,
            negative_controls={"other noise": two_models(made[0], made[1][shifted], prompts=groups).agreement},
        ),
        ratio=found.ratio,
    )
    write_atomically(run.folder / "two_models.json", result.model_dump_json(indent=2) + "\n")
    run.finish(result.model_dump(mode="json"))
    return result
