"""What an augmentation experiment will do, and how long it will take, before anything is done.

In: `AugmentSettings`, the arms and the labelled galaxies. Out: a `Plan`, its time reckoned from a few steps of training
and one batch of synthetic galaxies on this machine.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from pydantic import Field

from galaxysd.augmentation.methods import Arm, Level, RunSpec
from galaxysd.augmentation.real_split import RealSplit
from galaxysd.augmentation.shots import draw_shots
from galaxysd.augmentation.synthesis import SynthesisSettings, seconds_per_galaxy
from galaxysd.classifiers.network import make_network
from galaxysd.classifiers.train import ClassifierSettings, ClassifierTask, ExampleDraws
from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.diffusion.pipeline import GalaxyPipeline
from galaxysd.settings import Settings
from galaxysd.training.fit import make_optimizers

TIMED = 4  # training steps that the plan is reckoned from


class AugmentSettings(Settings):
    """What is tried."""

    shots: tuple[Level, ...] = Field(
        default=(10, 20, 50, 100, 200, "all"), min_length=1, description="real galaxies per class, validation included"
    )
    seeds: int = Field(default=5, ge=1, description="each draws other galaxies, weights and batches")
    ratios: tuple[float, ...] = Field(
        default=(1, 3, 10), min_length=1, description="generated galaxies per real galaxy"
    )
    gammas: tuple[float, ...] = Field(default=(1, 2, 5), min_length=1, description="of the focal loss, to choose from")
    explore: bool = Field(default=True, description="also other uses of generated galaxies, at two levels of shots")
    low_guidance: float = Field(default=1.0, ge=0, description="of the varied generated galaxies among those")
    synthetic: SynthesisSettings = SynthesisSettings()
    classifier: ClassifierSettings = ClassifierSettings(images=40_000)
    seed: int = Field(default=0, ge=0, description="of the test galaxies among one's own labels")


@dataclass(frozen=True)
class Plan:
    """What an experiment will do.

    Attributes:
        runs: runs, in order.
        left_out: runs that would repeat the baseline to the letter, as `arm at shots`.
        networks: trainings of networks among them.
        seconds: how long it will take, s, with so many worker processes.
        workers: of them.
    """

    runs: tuple[RunSpec, ...]
    left_out: tuple[str, ...]
    networks: int
    seconds: float
    workers: int

    def __str__(self) -> str:
        runs = f"{len(self.runs)} runs with {self.networks} trainings of networks"
        left = f"; left out as equal to the baseline: {', '.join(self.left_out)}" if self.left_out else ""
        return f"plan: {runs}, about {self.seconds / 3600:.1f} h with {self.workers} worker(s){left}"


def plan_runs(
    settings: AugmentSettings, arms: Sequence[Arm], train: GalaxySet, classes: Sequence[str]
) -> tuple[tuple[RunSpec, ...], tuple[str, ...]]:
    """All runs, seed by seed so that an early look at the results is fair, and what is left out.

    Class weights change nothing where every class has equally many galaxies: such runs are not made twice.

    Raises:
        InputError: a level of shots cannot be drawn.
    """
    runs, left_out = [], []
    levels = settings.shots
    some = {levels[0], levels[len(levels) // 2]}
    for seed in range(settings.seeds):
        for level in levels:
            shots = draw_shots(train.labels, classes, None if level == "all" else int(level), seed)
            for arm in arms:
                if arm.explored and level not in some:
                    continue
                if arm.class_weights and len(set(shots.counts)) == 1:
                    left_out += [f"{arm.name} at {level}"] if not seed else []
                    continue
                runs.append(RunSpec(arm=arm.name, shots=level, seed=seed))
    return tuple(runs), tuple(left_out)


def reckon(
    runs: tuple[RunSpec, ...],
    left_out: tuple[str, ...],
    arms: Sequence[Arm],
    settings: AugmentSettings,
    split: RealSplit,
    pipeline: GalaxyPipeline,
    workers: int,
) -> Plan:
    """The plan, with its time reckoned from a few training steps on one thread and one batch of synthetic galaxies."""
    by_name = {arm.name: arm for arm in arms}
    networks = sum(by_name[spec.arm].trainings for spec in runs)
    own_settings = settings.classifier
    classes = len(split.classes)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        network = make_network(own_settings.network, classes)
        task = ClassifierTask(network, torch.ones(classes), own_settings, split.test)
        draws, generator = ExampleDraws(split.train, classes, own_settings), torch.Generator().manual_seed(0)
        optimizers = make_optimizers(network, own_settings.fit)
        began = 0.0
        for step in range(TIMED + 1):
            if step == 1:  # the first one warms up
                began = time.monotonic()
            loss, _ = task.loss(network, draws.batch(own_settings.fit.batch, generator), generator)
            loss.backward()  # type: ignore[no-untyped-call]
            for optimizer in optimizers:
                optimizer.step()
        per_image = (time.monotonic() - began) / TIMED / own_settings.fit.batch
    finally:
        torch.set_num_threads(threads)
    # judging a test galaxy in 8 orientations is 8 forward passes, a third of a training step each
    training = networks * (own_settings.images + len(split.test) * 8 / 3) * per_image / workers
    pools = 2 if settings.explore else 1
    dreaming = pools * classes * settings.synthetic.per_class * seconds_per_galaxy(pipeline, settings.synthetic)
    return Plan(runs, left_out, networks, training + dreaming, workers)
