"""When do synthetic galaxies make a better classifier? The experiment: arms x shots x seeds on the same test galaxies.

In: datasets (or one's own labels beside them), a generator, an encoder. Out:

    OUT/settings.yaml, versions.json   the run folder (runs.py)
    OUT/metrics.jsonl                  a line per finished run
    OUT/predictions/<run>.npy          float32 [N, K], probabilities of the test galaxies
    OUT/synthetic galaxies/<pool>/                 synthetic galaxies, made once (synthesis.py)
    OUT/data/                         what all runs share (experiment_data.py)
    OUT/classifier/member-<seed>/      networks of the arm that is best on held-out galaxies at the most shots
    OUT/report.json, report.html       what was found (report.py)

The same command again goes on behind the last finished run.
"""

import multiprocessing
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from galaxysd.augmentation.experiment_data import INDEX, ExperimentData, RealSplit, own, surveyed, write_experiment_data
from galaxysd.augmentation.filtering import near_copies
from galaxysd.augmentation.methods import (
    OWN,
    PRETRAINED,
    SYNTHETIC,
    VARIED,
    Arm,
    Level,
    RunSpec,
    draw_shots,
    run_spec,
    standard_arms,
)
from galaxysd.augmentation.synthesis import (
    Prompts,
    SynthesisSettings,
    prompted,
    read_prompts,
    seconds_per_galaxy,
    synthesize_pool,
    voted,
)
from galaxysd.classifiers.class_rules import ClassRules, label
from galaxysd.classifiers.network import make_network
from galaxysd.classifiers.train import ClassifierSettings, ClassifierTask, ExampleDraws
from galaxysd.data.dataset import Dataset
from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.diffusion.data import DataSettings, GalaxyPool
from galaxysd.diffusion.pipeline import GalaxyPipeline
from galaxysd.encoders.galaxyemb import Encoder
from galaxysd.errors import InputError
from galaxysd.runs import Run
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


def augment(
    datasets: Sequence[str | Path],
    out: str | Path,
    *,
    model: str | Path = "mini",
    rules: ClassRules | None = None,
    settings: AugmentSettings | None = None,
    encoder: Encoder | None = None,
    pretrained: Encoder | None = None,
    labels: str | Path | None = None,
    images: str | Path | None = None,
    prompts: str | Path | None = None,
    workers: int = 1,
    plan_only: bool = False,
) -> Plan:
    """Do the experiment, or go on with it; `augment_report.write_report` then says what it found.

    Args:
        datasets: real galaxies; with `labels`, those that the generator has learned from.
        out: run folder.
        model: the generator.
        rules: the classes and their prompts; with `labels`, its class names are the ones allowed.
        settings: what is tried.
        encoder: of the probe, and of the ensemble that refuses synthetic galaxies; None: no probe, and only copies are
        refused.
        pretrained: of another probe.
        labels: table of one's own labels, with `images` beside it.
        images: folder or tar of their images.
        prompts: table of what to generate for each class, in place of the votes and the rules' prompts; without table
        and
            rules, the names of the classes are the prompts.
        workers: processes, one thread each.
        plan_only: make no run; nothing is written.

    Returns:
        What was planned.

    Raises:
        InputError: the input does not fit, or a test galaxy was seen in training.
    """
    settings = settings or AugmentSettings()
    if (labels is None) != (images is None):
        raise InputError("augment: a table of labels and a folder of images belong together; give both")
    if labels is None and rules is None:
        raise InputError("augment: without a table of labels, rules have to say what the classes are")
    if prompts is not None or rules is None:  # there are words of one's own, or no rule that says whose votes to take
        synthetic = settings.synthetic.model_copy(update={"wording": "prompt"})
        settings = settings.model_copy(update={"synthetic": synthetic})
    if workers < 1:
        raise InputError(f"workers {workers}: expected at least 1")
    opened = [Dataset.open(folder) for folder in datasets]
    pipeline = GalaxyPipeline.from_pretrained(model)
    encoders = {OWN: encoder, PRETRAINED: pretrained}
    present = {role: one for role, one in encoders.items() if one is not None}
    if labels is not None and images is not None:
        split = own(opened, labels, images, pipeline.size, rules.names if rules else None, settings.seed)
    else:
        assert rules is not None
        split = surveyed(opened, rules)
    _check_sizes(split, pipeline)
    asked = _prompts(prompts, rules, split.classes)
    arms = standard_arms(settings.ratios, settings.gammas, tuple(present), explore=settings.explore)
    runs, left_out = plan_runs(settings, arms, split.train, split.classes)
    plan = reckon(runs, left_out, arms, settings, split, pipeline, workers)
    Console(stderr=True, highlight=False).print(str(plan), soft_wrap=True)
    if plan_only:
        return plan
    inputs = {
        "classes": split.classes,
        "model": pipeline.model_hash,
        "encoders": {role: one.hash for role, one in present.items()},
        "datasets": [dataset.identity for dataset in opened],
        "asked": {name: list(each) for name, each in asked.items()},
        "train": split.train.counts(len(split.classes)).tolist(),
        "test": split.test.counts(len(split.classes)).tolist(),
    }
    run = Run.open(out, settings, inputs=inputs)
    if run.summary is not None:
        return plan
    _prepare(run, settings, split, opened, pipeline, rules, asked, present)
    _run_all(run, runs, {arm.name: arm for arm in arms}, settings, workers)
    _deliver(run, settings)
    run.finish({"runs": len(runs), "networks": plan.networks, "left_out": list(left_out)})
    return plan


def _check_sizes(split: RealSplit, pipeline: GalaxyPipeline) -> None:
    side = split.train.size
    if side != pipeline.size:
        raise InputError(f"images of {side} px, but the generator dreams {pipeline.size} px; build with that --size")


def _prompts(table: str | Path | None, rules: ClassRules | None, classes: Sequence[str]) -> Prompts:
    if table is not None:
        return read_prompts(table, classes)
    if rules is not None:
        return {rule.name: (rule.prompt,) for rule in rules.classes}
    return {name: (name,) for name in classes}


def _prepare(
    run: Run,
    settings: AugmentSettings,
    split: RealSplit,
    datasets: Sequence[Dataset],
    pipeline: GalaxyPipeline,
    rules: ClassRules | None,
    asked: Prompts,
    encoders: Mapping[str, Encoder],
) -> None:
    """Generate, test the memory of the synthetic galaxies and compute features, once."""
    data = run.folder / "data"
    if (data / INDEX).is_file():
        return
    own_words = settings.synthetic
    if own_words.wording == "votes":
        assert rules is not None  # `augment` asks in prompts without them
        pool = GalaxyPool(datasets, "train", DataSettings(), run.folder / "pool")
        classes = {
            f"{dataset.survey}:{name}": kind
            for dataset in datasets
            for name, kind in zip(dataset.catalog.frame["id"], label(dataset.catalog, rules), strict=True)
        }
        known = np.array([classes[name] for name in pool.ids])
        requests = voted(pool, known, split.classes, own_words.per_class, own_words.seed, pipeline.denoiser.surveys)
    else:
        surveys = [one for one in dict.fromkeys(data.survey for data in datasets) if one in pipeline.denoiser.surveys]
        requests = prompted(pipeline, asked, split.classes, surveys, own_words.per_class)
    pools = {SYNTHETIC: own_words}
    if settings.explore:
        pools[VARIED] = own_words.model_copy(update={"guidance": settings.low_guidance})
    synthetic = {
        name: synthesize_pool(pipeline, requests, split.classes, run.folder / "synthetic" / f"{name}.npy", one)
        for name, one in pools.items()
    }
    copied = {}
    for name, pool_of_synthetic in synthetic.items():
        memory = near_copies(pool_of_synthetic, split.learned, split.held_out)
        copied[name] = memory.copied
        run.log(
            pool=name,
            synthetic=len(pool_of_synthetic),
            copies=int(memory.copied.sum()),
            threshold=round(memory.threshold, 3),
            share=round(memory.share, 5),
            alarm=memory.alarm,
        )
    write_experiment_data(data, split.classes, split.train, split.test, synthetic, copied, encoders)
    shutil.rmtree(run.folder / "pool", ignore_errors=True)


def run_name(spec: RunSpec, arm: Arm) -> str:
    """Name of a run, as part of a file name."""
    return f"{arm.slug}-{spec.shots}-{spec.seed}"


def finished_runs(run: Run) -> dict[str, dict[str, Any]]:
    """Rows of the finished runs by name."""
    return {line["run"]: line for line in run.metrics() if "run" in line}


def _run_all(
    run: Run, runs: Sequence[RunSpec], arms: Mapping[str, Arm], settings: AugmentSettings, workers: int
) -> None:
    done = finished_runs(run)
    left = [spec for spec in runs if run_name(spec, arms[spec.arm]) not in done]
    jobs = [(str(run.folder), arms[spec.arm], spec, settings) for spec in left]
    (run.folder / "predictions").mkdir(exist_ok=True)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("runs", total=len(runs), completed=len(runs) - len(left))
        with _results(run.folder, jobs, workers) as results:
            for row in results:
                run.log(**row)
                progress.update(bar, advance=1, description=f"{row['arm']}, {row['shots']} shots, F1 {row['F1']:.3f}")


Job = tuple[str, Arm, RunSpec, AugmentSettings]


@contextmanager
def _results(folder: Path, jobs: Sequence[Job], workers: int) -> Iterator[Iterator[dict[str, Any]]]:
    """Rows of the runs as they end, in this process or in several."""
    if workers == 1:
        threads = torch.get_num_threads()
        _start_worker()  # sums of several threads differ in their last digits from a worker's
        try:
            yield (
                _work(job, ExperimentData.load(folder / "data") if not index else None)
                for index, job in enumerate(jobs)
            )
        finally:
            torch.set_num_threads(threads)
        return
    context = multiprocessing.get_context("spawn")  # a forked process would inherit locked thread pools
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as pool:
        futures = [pool.submit(_work, job) for job in jobs]
        try:
            yield (future.result() for future in as_completed(futures))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    torch.set_num_threads(1)


_OPEN: dict[str, ExperimentData] = {}  # of this process


def _work(job: Job, data: ExperimentData | None = None) -> dict[str, Any]:
    """Make one run; its probabilities are on disk before its row is handed back."""
    place, arm, spec, settings = job
    folder = Path(place)
    if data is not None or place not in _OPEN:
        _OPEN.clear()
        _OPEN[place] = data or ExperimentData.load(folder / "data")
    name = run_name(spec, arm)
    training = folder / "training" / name
    outcome = run_spec(_OPEN[place], arm, spec, settings.classifier, training)
    partial = folder / "predictions" / f"{name}.partial.npy"
    np.save(partial, outcome.probabilities.astype(np.float32), allow_pickle=False)
    partial.replace(folder / "predictions" / f"{name}.npy")
    if outcome.model is not None and spec.shots == settings.shots[-1]:
        kept = folder / "models" / name
        shutil.rmtree(kept, ignore_errors=True)
        kept.parent.mkdir(exist_ok=True)
        shutil.move(outcome.model, kept)
    shutil.rmtree(training, ignore_errors=True)
    return {"run": name, **outcome.row}


def _deliver(run: Run, settings: AugmentSettings) -> None:
    """Keep the classifiers of the arm that held-out galaxies like best at the most shots; the test has no say in it."""
    models = run.folder / "models"
    if not models.is_dir():  # delivered before an interruption
        return
    losses: dict[str, list[float]] = {}
    names: dict[str, list[str]] = {}
    for name, row in finished_runs(run).items():
        if (models / name).is_dir():
            losses.setdefault(row["arm"], []).append(row["held_out_loss"])
            names.setdefault(row["arm"], []).append(name)
    best = min(losses, key=lambda arm: float(np.mean(losses[arm])))
    for name in names[best]:
        target = run.folder / "classifier" / f"member-{finished_runs(run)[name]['seed']}"
        shutil.copytree(models / name, target, dirs_exist_ok=True)
    run.log(delivered=best)
    shutil.rmtree(models)
