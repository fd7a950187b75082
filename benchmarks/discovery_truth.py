"""Do generated galaxies find rare galaxies? A search for galaxies of known kind, by every method at equal effort.

    python benchmarks/discovery_truth.py --target dust-lanes --out OUT --data DATASET --data DATASET ...

The galaxies that may be searched are dealt into parts, one per seed. For each part, methods learn from k known galaxies
of the target and all other galaxies outside the part, unlabelled, then rank the part; every galaxy is searched once, by
methods that never saw it. Ranks within parts are pooled. Methods:

    real          a classifier on the k real ones, unlabelled galaxies as negatives
    weights, focal, oversampled    the same with class weights, focal loss, or balanced draws and strong augmentation
    neighbour, probe    GalaxyEmb: distance to the nearest known one; logistic regression on features
    generated galaxies        the ranker of `galaxysd discover`: the probe, with generated galaxies of the generator as
    it is generated galaxies network      oversampled, with the same generated galaxies tuned         as generated
    galaxies, after the generator was fine-tuned on the k real ones (those of its split `train`)

Out: OUT/TARGET/truth.json, curves.png and the scores of every step, which a second call takes up. Two targets run side
by side in two processes; `--plan` prints how long it will take.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from effort_statistics import EFFORTS, curves, gain, measure_scores
from measure import Row, all_pixels, console, empty_folder, machine, open_datasets, print_results, run_script
from pydantic import Field
from rich.table import Table

from galaxysd.classifiers.train import ClassifierSettings, train_classifier
from galaxysd.data.dataset import Dataset
from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.diffusion.pipeline import GalaxyPipeline
from galaxysd.diffusion.recipe import Recipe, train
from galaxysd.encoders.galaxyemb import Encoder
from galaxysd.encoders.registry import load_encoder
from galaxysd.metrics.memorization import nearest_features
from galaxysd.runs import Run
from galaxysd.search.ranker import (
    RankerSettings,
    domain_shift,
    features_of,
    fit_members,
    jpeg_roundtrip,
    shift_features,
)
from galaxysd.search.target import make_target
from galaxysd.search.training_set import Group, generated_groups
from galaxysd.settings import Settings

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]

SHOTS = (0, 3, 10, 30)
CLASSIFIERS: dict[str, dict[str, Any]] = {
    "real": {},
    "weights": {"class_weights": True},
    "focal": {"loss": "focal"},
    "oversampled": {"balanced": True, "augmentation": "strong"},
}
WITH_DREAMS: dict[str, Any] = {**CLASSIFIERS["oversampled"], "dreamed_share": 0.85}
CLASSES = ("other", "target")
WITHOUT_SHOTS = ("generated", "dreams network")  # methods that need no known galaxy
RIVALS = ("real", "weights", "focal", "oversampled", "neighbour", "probe")
TRAINED, TUNED, GENERATED = 180.0, 40.0, 7.0  # images a second on one core: classifier, generator, generated galaxies


class Target(Settings):
    """A kind of galaxy whose members are known."""

    survey: str = Field(description="survey token of the dataset that is searched")
    folder: str = Field(description="name of its dataset folder")
    where: str = Field(description="SQL condition that is the truth")
    searched: str = Field(description="SQL condition of the galaxies that may be searched")
    prompt: str


ODD = "t06_odd_a14_yes > 0.5 AND t06_odd_votes >= 20"
TARGETS = {
    # The shipped generator never saw one: zero-shot.
    "dust-lanes": Target(
        survey="efigi",
        folder="efigi",
        where="source_T <= -1 AND source_Visible_Dust >= 0.5",
        searched="TRUE",
        prompt="efigi, early-type galaxy, {dust lane:1.3}",
    ),
    # It saw rings and mergers, but none of those that are searched.
    "rings": Target(
        survey="sdss",
        folder="gz2_fixed_scale",
        where=f"{ODD} AND t08_odd_feature_a19_ring > 0.5",
        searched="split <> 'train'",
        prompt="sdss, ring galaxy",
    ),
    "mergers": Target(
        survey="sdss",
        folder="gz2_fixed_scale",
        where=f"{ODD} AND t08_odd_feature_a24_merger > 0.5",
        searched="split <> 'train'",
        prompt="sdss, merger",
    ),
}


class TruthSettings(Settings):
    """What is compared."""

    seeds: int = Field(default=5, ge=2, description="parts of the survey, each with a seed of its own")
    shots: tuple[int, ...] = Field(default=SHOTS, description="known galaxies of the target")
    unlabelled: int = Field(default=3000, ge=1, description="at most so many unlabelled galaxies are learned from")
    images: int = Field(default=6400, ge=1, description="images that each classifier sees")
    generated: int = Field(default=320, ge=1, description="dreams of the target")
    hard_negatives: int = Field(default=160, ge=1, description="dreams of each kind of near miss")
    background: int = Field(default=600, ge=1, description="dreams of the survey's own mix")
    tuned_images: int = Field(default=6400, ge=1, description="images that each fine-tuning sees")
    tuned_rate: float = Field(default=0.01, gt=0, description="peak learning rate of fine-tuning")
    context: int = Field(default=100, ge=10, description="other galaxies of each dataset in fine-tuning")
    orientations: int = Field(default=4, ge=1, le=8)
    resamples: int = Field(default=400, ge=10, description="of the bootstrap over galaxies")


class TruthIdentity(Settings):
    """What makes two experiments the same."""

    settings: TruthSettings
    target: Target
    model: str
    encoder: str
    data: str


@dataclass(frozen=True)
class Sky:
    """The galaxies of a dataset: images uint8 [N, S, S, 3], truth [N], part [N] (-1: never searched), ids [N]."""

    images: Pixels
    truth: Flags
    part: Ints
    ids: list[str]
    split: list[str]


@dataclass(frozen=True)
class Task:
    """One part to search: what may be learned from, and what is ranked."""

    seed: int
    known: Ints
    unlabelled: Ints
    searched: Ints


def met(frame: pl.DataFrame, condition: str) -> Flags:
    """Galaxies that meet a condition; null meets none."""
    chosen = set(frame.filter(pl.sql_expr(condition))["id"])
    return frame["id"].is_in(list(chosen)).to_numpy()


def deal(truth: Flags, searched: Flags, parts: int, *, seed: int) -> Ints:
    """The part of each galaxy [N], -1 where it is not searched: true and other galaxies are dealt out evenly."""
    rng = np.random.default_rng(seed)
    part = np.full(len(truth), -1)
    for group in (truth, ~truth):
        order = rng.permutation(np.flatnonzero(group & searched))
        part[order] = np.arange(len(order)) % parts
    return part


def make_task(sky: Sky, seed: int, shots: int, unlabelled: int) -> Task:
    """Choose the known galaxies; more shots keep those of fewer. Hidden ones stay among the unlabelled."""
    rng = np.random.default_rng([seed, 1])
    outside = sky.part != seed
    known = rng.permutation(np.flatnonzero(outside & sky.truth))[:shots]
    order = rng.permutation(np.flatnonzero(outside))
    rest = order[~np.isin(order, known)][:unlabelled]
    return Task(seed, known, rest, np.flatnonzero(sky.part == seed))


def real_lots(sky: Sky, task: Task) -> list[Group]:
    """Known and unlabelled galaxies."""
    groups = (("known", 1, task.known), ("unlabelled", 0, task.unlabelled))
    return [
        Group(name, label, GalaxySet(sky.images[places], [sky.ids[place] for place in places]), synthetic=False)
        for name, label, places in groups
    ]


def examples(groups: Sequence[Group]) -> GalaxySet:
    """Galaxies for a classifier, all through one JPEG round trip."""
    filled = [group for group in groups if len(group)]
    joined = GalaxySet.join(*(group.galaxies for group in filled))
    labels = np.concatenate([np.full(len(group), group.label) for group in filled])
    return GalaxySet(jpeg_roundtrip(joined.images), joined.ids, labels=labels, synthetic=joined.synthetic)


class Bench:
    """One experiment: every step leaves its scores in a file and is not done twice."""

    def __init__(
        self,
        run: Run,
        target: Target,
        datasets: Sequence[Dataset],
        sky: Sky,
        model: str,
        encoder: Encoder,
        settings: TruthSettings,
    ) -> None:
        self.run, self.target, self.datasets, self.sky = run, target, datasets, sky
        self.model, self.encoder, self.settings = model, encoder, settings
        self._features: Floats | None = None

    @property
    def features(self) -> Floats:
        """Of all galaxies, computed once."""
        if self._features is None:
            self._features = self._kept(
                "features", lambda: features_of(self.encoder, self.sky.images).astype(np.float64)
            )
        return self._features

    def generated(self, model: str | Path, seed: int) -> list[Group]:
        """Generated galaxies of the target and its hard negatives."""
        pipeline, settings = GalaxyPipeline.from_pretrained(model), self.settings
        return generated_groups(
            pipeline,
            make_target(pipeline, self.target.prompt),
            target=settings.generated,
            hard_negatives=settings.hard_negatives,
            background=settings.background,
            seed=seed,
            folder=self.run.folder / "generated" / pipeline.model_hash,
        )

    def scores(self, method: str, shots: int) -> Floats:
        """Rank of every galaxy searched [N] within its part, 1 is the first, 0 the last; NaN for the others."""
        pooled = np.full(len(self.sky.truth), np.nan)
        for seed in range(self.settings.seeds):
            task = make_task(self.sky, seed, shots, self.settings.unlabelled)
            found = self._kept(f"{method}-{shots}-{seed}", lambda task=task: self._judge(method, task))
            below = (found[:, None] > found[None]).mean(axis=1) + 0.5 * (found[:, None] == found[None]).mean(axis=1)
            pooled[task.searched] = below
        return pooled

    def _judge(self, method: str, task: Task) -> Floats:
        if method == "neighbour":
            return -nearest_features(self.features[task.searched], self.features[task.known])[0]
        real = real_lots(self.sky, task)
        if method in CLASSIFIERS:
            return self._classifier(method, task, real, CLASSIFIERS[method])
        if method == "dreams network":
            return self._classifier(method, task, [*self.generated(self.model, 0), *real], WITH_DREAMS)
        generated = (
            [] if method == "probe" else self.generated(self._tuned(task) if method == "tuned" else self.model, 0)
        )
        return self._probe(task, generated, real)

    def _classifier(self, method: str, task: Task, groups: list[Group], how: Mapping[str, Any]) -> Floats:
        learned = examples(groups)
        settings = ClassifierSettings.parse({**how, "images": self.settings.images}, method)
        folder = self.run.folder / "classifiers" / f"{method}-{len(task.known)}-{task.seed}"
        trained = train_classifier(learned, learned.subset([]), CLASSES, folder, settings, seed=task.seed)
        searched = jpeg_roundtrip(self.sky.images[task.searched])
        return trained.probabilities(searched, self.settings.orientations)[:, 1]

    def _probe(self, task: Task, generated: list[Group], real: list[Group]) -> Floats:
        """What the ranker of a search says, as one member that learns from all unlabelled galaxies."""
        seen = [features_of(self.encoder, group.galaxies.images) for group in generated]
        seen += [self.features[places] for places in (task.known, task.unlabelled)]
        filled = [(group, features) for group, features in zip([*generated, *real], seen, strict=True) if len(group)]
        groups, features = zip(*filled, strict=True)
        features = shift_features(groups, features, domain_shift(groups, features))
        (probe,) = fit_members(groups, features, [], [], RankerSettings(), members=1)
        return probe.probabilities(self.features[task.searched])[:, 1]

    def _tuned(self, task: Task) -> Path:
        """The generator fine-tuned on the known galaxies, with some others so that it forgets nothing else."""
        out = self.run.folder / "tuned" / f"{len(task.known)}-{task.seed}"
        pipeline = GalaxyPipeline.from_pretrained(self.model)
        kept = [self.sky.ids[place] for place in (*task.known, *task.unlabelled[: self.settings.context])]
        val = [place for place in task.unlabelled if self.sky.split[place] == "val"][:8]
        kept += [self.sky.ids[place] for place in val]
        for dataset in self.datasets:
            if dataset.folder.name != self.target.folder:
                kept += dataset.ids("train")[: self.settings.context] + dataset.ids("val")[:8]
        names = ", ".join("'{}'".format(name.replace("'", "''")) for name in kept)
        recipe = json.loads(json.dumps(pipeline.record.training["recipe"]))
        recipe["data"] |= {"withhold": [f"id NOT IN ({names})"], "rare_boost": 10.0}
        recipe["fit"] |= {"seed": task.seed, "learning_rate": self.settings.tuned_rate, "snapshot_every": 10**9}
        recipe["task"] |= {"sheet": []}
        recipe["perceptual"] = None  # the vision network does not come with the model
        train(
            [dataset.folder for dataset in self.datasets],
            out,
            recipe=Recipe.parse(recipe, "fine-tuning"),
            images=self.settings.tuned_images,
            start=self.model,
        )
        return out / "model"

    def _kept(self, name: str, compute: Callable[[], Floats]) -> Floats:
        path = self.run.folder / "scores" / f"{name.replace(' ', '-')}.npy"
        if not path.is_file():
            path.parent.mkdir(exist_ok=True)
            began = time.monotonic()
            values = compute()
            partial = path.with_suffix(".partial.npy")
            np.save(partial, values, allow_pickle=False)
            partial.replace(path)
            self.run.log(step=name, seconds=round(time.monotonic() - began, 1))
        return np.load(path, allow_pickle=False)


def methods_at(shots: int) -> tuple[str, ...]:
    """Methods that can work with so many known galaxies."""
    return WITHOUT_SHOTS if shots == 0 else (*CLASSIFIERS, "neighbour", "probe", *WITHOUT_SHOTS, "tuned")


def plan(settings: TruthSettings) -> list[Row]:
    """What is to be done for one target, and how long it takes on one core."""
    with_shots = sum(shots > 0 for shots in settings.shots)
    trainings = settings.seeds * (len(CLASSIFIERS) * with_shots + len(settings.shots))
    tunings = settings.seeds * with_shots
    generated = (tunings + 1) * (settings.generated + 2 * settings.hard_negatives + settings.background)
    parts = {
        f"{trainings} classifiers of {settings.images:,} images": trainings * settings.images / TRAINED,
        f"{tunings} fine-tunings of {settings.tuned_images:,} images": tunings * settings.tuned_images / TUNED,
        f"{generated:,} dreams": generated / GENERATED,
    }
    rows = [Row(what, f"{seconds / 60:.0f} min") for what, seconds in parts.items()]
    return [*rows, Row("one target on one core", f"{sum(parts.values()) / 3600:.1f} h")]


def evaluate(options: argparse.Namespace) -> dict[str, Any]:
    """The whole experiment for one target."""
    settings, target = options.settings, TARGETS[options.target]
    datasets = open_datasets(options.data)
    dataset = next((one for one in datasets if one.folder.name == target.folder), None)
    if dataset is None:
        raise SystemExit(f"--data: the target needs the dataset folder {target.folder}")
    encoder = load_encoder(options.encoder)
    model = GalaxyPipeline.from_pretrained(options.model)
    identity = TruthIdentity(
        settings=settings, target=target, model=model.model_hash, encoder=encoder.hash, data=dataset.info.inputs
    )
    run = Run.open(empty_folder(options.out) / options.target, identity)
    frame = dataset.catalog.frame
    truth, searched = met(frame, target.where), met(frame, target.searched)
    sky = Sky(
        all_pixels(dataset, dataset.ids()),
        truth,
        deal(truth, searched, settings.seeds, seed=0),
        dataset.ids(),
        frame["split"].to_list(),
    )
    bench = Bench(run, target, datasets, sky, options.model, encoder, settings)
    true = truth[searched]
    found: dict[str, Any] = {}
    for shots in settings.shots:
        scores = {method: bench.scores(method, shots)[searched] for method in methods_at(shots)}
        measured = measure_scores(scores, true, resamples=settings.resamples)
        gains = {
            f"{ours} over {rival}": gain(scores[ours], scores[rival], true, share, resamples=settings.resamples)
            for share in EFFORTS[1:2]
            for ours in ("generated", "dreams network", "tuned")
            for rival in RIVALS
            if ours in scores and rival in scores
        }
        (run.folder / f"curves-{shots}.png").write_bytes(curves(scores, true, f"{options.target}, {shots} known"))
        found[str(shots)] = {
            "methods": {
                name: {what: one.model_dump() for what, one in values.items()} for name, values in measured.items()
            },
            "gains": {name: one.model_dump() for name, one in gains.items()},
        }
    return {
        "target": target.model_dump(),
        "name": options.target,
        "searched": int(searched.sum()),
        "true": int(true.sum()),
        "model_hash": model.model_hash,
        "encoder_hash": encoder.hash,
        "settings": settings.model_dump(),
        "seconds": round(sum(line["seconds"] for line in run.metrics()), 1),
        "shots": found,
    }


def show(result: dict[str, Any]) -> None:
    """A table per number of known galaxies, and how many times more generated galaxies find."""
    chance = result["true"] / result["searched"]
    for shots, found in result["shots"].items():
        title = f"{result['name']}: {result['true']} of {result['searched']:,} galaxies, {shots} known"
        names = list(next(iter(found["methods"].values())))
        table = Table(
            "method", *names, title=title, caption=f"95 % intervals; chance: precision {chance:.3f}\n{machine()}"
        )
        for method, values in found["methods"].items():
            cells = (values[name] for name in names)
            table.add_row(method, *(f"{one['value']:.3g} ({one['low']:.2g}-{one['high']:.2g})" for one in cells))
        console().print(table)
        rows = [
            Row(name, f"{one['value']:.2f} ({one['low']:.2f} to {one['high']:.2f})", ">= 2", one["value"] >= 2)
            if name.endswith("over real")
            else Row(name, f"{one['value']:.2f} ({one['low']:.2f} to {one['high']:.2f})", "> 1", one["low"] > 1)
            for name, one in found["gains"].items()
        ]
        if rows:
            print_results(f"times as many found, {EFFORTS[1]:.0%} inspected, {shots} known", rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="Search for galaxies of known kind with and without dreams.")
    parser.add_argument("--target", choices=list(TARGETS), default="dust-lanes")
    parser.add_argument("--data", type=Path, action="append", default=[], help="dataset folder; repeatable")
    parser.add_argument("--model", default="mini", help="a shipped model or a model folder")
    parser.add_argument("--encoder", default="galaxyemb")
    parser.add_argument("--out", type=Path, required=True, help="folder; each target has its own in it")
    parser.add_argument("--settings", type=TruthSettings.read, default=TruthSettings(), help="YAML file of settings")
    parser.add_argument("--plan", action="store_true", help="print how long it takes, and stop")
    options = parser.parse_args()
    if options.plan:
        print_results("what is to be done", plan(options.settings))
        return
    run_script(parser, evaluate, show, f"truth-{options.target}.json")


if __name__ == "__main__":
    main()
