"""Does a generated galaxy show what was asked for? A classifier that has only seen real ones reads it back.

In: dataset folders and a model. Out: a table of accuracies (held-out real, generated, shuffled prompts) and one of
Fréchet distances in the classifier's features (with the real-real real baseline and two negative controls),
`consistency.json`, and `misread.png`, the generated galaxies it read otherwise. The classifier is trained here
(`reader.py`) and not kept.

    python benchmarks/consistency.py --data DATASET [--data DATASET] --model mini --out OUT [--prompts-from-real]

A galaxy has a class where the volunteers agree, by their conditional fractions:

    smooth    smooth >= 0.7
    edge-on   reached >= 0.5, edge-on >= 0.7
    spiral    reached >= 0.5, spiral >= 0.7, bar <= 0.3
    bar       reached >= 0.5, bar >= 0.7, with or without arms

"Reached" is the product of the fractions of the answers that lead to the class's own question, so the last two are
featured and not edge-on; that question needs 5 votes where votes are told. All other galaxies are left out. "Within 5
points of real" means not worse by more: prompts ask for clear cases, which can be read better than real galaxies.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from measure import all_pixels, console, empty_folder, machine, morphologies, open_datasets, run_script, split_of
from reader import Examples, Reader, ReaderSettings, train_reader
from rich.table import Table

from galaxysd.catalog.catalog import Catalog
from galaxysd.catalog.splits import check_disjoint
from galaxysd.data.dataset import Dataset
from galaxysd.diffusion.pipeline import GalaxyPipeline
from galaxysd.errors import InputError
from galaxysd.metrics import controls
from galaxysd.metrics.frechet import frechet_distance
from galaxysd.prompts import Morphology
from galaxysd.reports.contact_sheet import contact_sheet
from galaxysd.stats import wilson

CLASSES = ("smooth", "edge-on", "spiral", "bar")
PROMPTS = {
    "smooth": "smooth galaxy",
    "edge-on": "edge-on galaxy",
    "spiral": "spiral galaxy, no bar",
    "bar": "barred spiral galaxy",
}
AGREED, REACHED, ABSENT, LEAST_VOTES = 0.7, 0.5, 0.3, 5
GOAL = 5.0  # points of accuracy below real
DIVISIONS = 20  # random halves of the real galaxies for the Fréchet distance
SHOWN = 16  # misread generated galaxies per class

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def classes_of(catalog: Catalog) -> Labels:
    """Index into CLASSES of each galaxy [N], -1 where the volunteers do not agree on one (rule in the module text)."""
    fraction = dict(zip(catalog.tree.columns, catalog.fractions().T, strict=True))
    keys = [question.key for question in catalog.tree.questions]
    votes = dict(zip(keys, catalog.votes().T, strict=True))
    reach = dict(zip(keys, catalog.reach().T, strict=True))
    bar = fraction["t03_bar_a06_bar"]
    agreed = {
        "smooth": ("t01_smooth_or_features", fraction["t01_smooth_or_features_a01_smooth"] >= AGREED),
        "edge-on": ("t02_edgeon", fraction["t02_edgeon_a04_yes"] >= AGREED),
        "spiral": ("t04_spiral", (fraction["t04_spiral_a08_spiral"] >= AGREED) & (bar <= ABSENT)),
        "bar": ("t03_bar", bar >= AGREED),
    }
    labels = np.full(len(catalog), -1)
    for index, name in enumerate(CLASSES):
        key, says = agreed[name]
        labels[says & (reach[key] >= REACHED) & ~(votes[key] < LEAST_VOTES)] = index
    return labels


def macro(right: npt.NDArray[np.bool_], labels: Labels, seed: int, resamples: int = 1000) -> tuple[float, float, float]:
    """Mean of the classes' accuracies with its 95 % interval (bootstrap within classes)."""
    rng = np.random.default_rng(seed)
    groups = [right[labels == index] for index in range(len(CLASSES))]
    drawn = [rng.choice(group, (resamples, len(group))).mean(axis=1) for group in groups]
    low, high = np.quantile(np.mean(drawn, axis=0), (0.025, 0.975))
    return float(np.mean([group.mean() for group in groups])), float(low), float(high)


@dataclass(frozen=True)
class Reading:
    """A set of galaxies as the classifier reads them: what they are or were asked to be, and what it says."""

    name: str
    labels: Labels
    read: Labels
    features: Floats

    def accuracy(self, seed: int) -> dict[str, dict[str, float]]:
        """Per class and `macro`: `accuracy`, `low`, `high` (95 %), `n`."""
        right = self.read == self.labels
        found = {}
        for index, name in enumerate(CLASSES):
            hits, n = int(right[self.labels == index].sum()), int((self.labels == index).sum())
            low, high = wilson(hits, n)
            found[name] = {"accuracy": hits / n, "low": low, "high": high, "n": n}
        value, low, high = macro(right, self.labels, seed)
        return {**found, "macro": {"accuracy": value, "low": low, "high": high, "n": len(self.labels)}}


def real_galaxies(datasets: Sequence[Dataset], split: str, limit: int | None) -> tuple[Examples, list[Morphology]]:
    """Galaxies of a split that have a class, with what is known of each."""
    images, labels, known = [], [], []
    for dataset in datasets:
        catalog = split_of(dataset, split)
        label = classes_of(catalog)
        if (label >= 0).any():
            clear = catalog.filter(pl.Series(label >= 0))
            images.append(all_pixels(dataset, clear.frame["id"].to_list()))
            labels.append(label[label >= 0])
            known += list(morphologies(clear))
    counts = np.bincount(np.concatenate([np.empty(0, np.int64), *labels]), minlength=len(CLASSES))
    if counts.min() < 2:
        raise InputError(f"split {split!r}: too few galaxies of class {CLASSES[int(counts.argmin())]!r} to go by")
    found = Examples(np.concatenate(images), np.concatenate(labels))
    if limit is not None:
        keep = np.concatenate([np.flatnonzero(found.labels == index)[:limit] for index in range(len(CLASSES))])
        found, known = Examples(found.images[keep], found.labels[keep]), [known[index] for index in keep]
    return found, known


def dream(pipeline: GalaxyPipeline, wanted: Sequence[Sequence[str | Morphology]], seed: int) -> Examples:
    """One galaxy per request; `wanted` holds a list of requests per class."""
    flat = [request for requests in wanted for request in requests]
    labels = np.repeat(np.arange(len(wanted)), [len(requests) for requests in wanted])
    return Examples(pipeline(flat, seed=seed).images, labels)


def compare_features(sets: Sequence[Reading], real: Reading, seed: int) -> dict[str, dict[str, float]]:
    """Fréchet distance of each set, and of real galaxies themselves, to real ones: equal n, equal classes.

    Real galaxies are halved at random `DIVISIONS` times, class by class: one half is the reference, one the real
    baseline.
    """
    rng = np.random.default_rng(seed)
    each = min(*(_least(one) for one in sets), _least(real) // 2)
    distances: dict[str, list[float]] = {}
    for _ in range(DIVISIONS):
        places = [rng.permutation(np.flatnonzero(real.labels == index)) for index in range(len(CLASSES))]
        reference = real.features[np.concatenate([place[:each] for place in places])]
        real_baseline = real.features[np.concatenate([place[each : 2 * each] for place in places])]
        distances.setdefault("real, the other half", []).append(frechet_distance(real_baseline, reference))
        for one in sets:
            drawn = [rng.choice(np.flatnonzero(one.labels == index), each, False) for index in range(len(CLASSES))]
            distance = frechet_distance(one.features[np.concatenate(drawn)], reference)
            distances.setdefault(one.name, []).append(distance)
    low_high = {name: np.quantile(values, (0.5, 0.025, 0.975)) for name, values in distances.items()}
    n = each * len(CLASSES)
    return {
        name: {"distance": float(middle), "low": float(low), "high": float(high), "n": n}
        for name, (middle, low, high) in low_high.items()
    }


def _least(reading: Reading) -> int:
    return int(np.bincount(reading.labels, minlength=len(CLASSES)).min())


def evaluate(options: argparse.Namespace) -> dict[str, Any]:
    """All of it; writes the sheet and returns what goes into the JSON."""
    out, seed = empty_folder(options.out), options.seed
    datasets = open_datasets(options.data, options.survey)
    check_disjoint([dataset.catalog for dataset in datasets])
    pipeline = GalaxyPipeline.from_pretrained(options.model)
    (train, _), (val, _), (test, known) = (
        real_galaxies(datasets, split, options.limit) for split in ("train", "val", "test")
    )
    began = time.monotonic()
    settings = ReaderSettings(seed=seed, images=options.images)
    reader = train_reader(train, val, len(CLASSES), settings)
    seconds = time.monotonic() - began

    rng = np.random.default_rng(seed)
    requests = {"generated": [[f"{options.survey}, {PROMPTS[name]}"] * options.n for name in CLASSES]}
    if options.prompts_from_real:
        members = [np.flatnonzero(test.labels == index) for index in range(len(CLASSES))]
        requests["dreamed like test"] = [[known[i] for i in rng.choice(member, options.n)] for member in members]
    dreams = {name: dream(pipeline, wanted, seed) for name, wanted in requests.items()}
    real = _read("real test", reader, test)
    readings = [real, *(_read(name, reader, examples) for name, examples in dreams.items())]
    made = {"train, blurred": controls.blurred(train.images), "noise": controls.noise(train.images, rng)}
    straw = [_read(name, reader, Examples(images, train.labels)) for name, images in made.items()]
    first = readings[1]
    shuffled = Reading("shuffled prompts", controls.shuffled(first.labels, rng), first.read, first.features)

    _misread_sheet(dreams, readings[1:], out / "misread.png", f"{options.model} {pipeline.model_hash}, seed {seed}")
    scores = {one.name: one.accuracy(seed) for one in (*readings, shuffled)}
    goal = {
        one.name: 100 * (scores[one.name]["macro"]["accuracy"] - scores[real.name]["macro"]["accuracy"])
        for one in (*readings[1:], shuffled)
    }
    return {
        "model": options.model,
        "model_hash": pipeline.model_hash,
        "sampling": pipeline.sampling().model_dump(mode="json"),
        "data": [{"survey": one.survey, "inputs": one.info.inputs} for one in datasets],
        "seed": seed,
        "n_per_class": options.n,
        "prompts": {name: f"{options.survey}, {PROMPTS[name]}" for name in CLASSES},
        "reader": {
            **settings.model_dump(),
            "parameters": reader.parameters,
            "seconds": round(seconds, 1),
            "validation": reader.validation,
            "train": np.bincount(train.labels).tolist(),
            "val": np.bincount(val.labels).tolist(),
        },
        "accuracy": scores,
        "points_to_real": goal,
        "frechet": compare_features([*readings[1:], *straw], real, seed),
    }


def _read(name: str, reader: Reader, examples: Examples) -> Reading:
    read, features = reader.read(examples.images)
    return Reading(name, examples.labels, read, features)


def _misread_sheet(dreams: dict[str, Examples], readings: Sequence[Reading], path: Path, footer: str) -> None:
    """Generated galaxies that were read as something else, a row per class asked for and class read."""
    rows: list[tuple[str, Pixels]] = []
    for reading in readings:
        for asked, name in enumerate(CLASSES):
            for read, other in enumerate(CLASSES):
                wrong = np.flatnonzero((reading.labels == asked) & (reading.read == read))
                if read != asked and len(wrong):
                    label = f"{reading.name}: asked {name}, read {other} ({len(wrong)})"
                    rows.append((label, dreams[reading.name].images[wrong[:SHOWN]]))
    path.unlink(missing_ok=True)
    if rows:
        contact_sheet(rows, title="dreams that were read otherwise", footer=footer).save(path)


def show(result: dict[str, Any]) -> None:
    """Print the two tables."""
    scores = result["accuracy"]
    reader = result["reader"]
    title = f"read back by a classifier of real galaxies, model {result['model']}"
    about = (
        f"seed {result['seed']}; classifier: {reader['parameters']:,} parameters, {reader['images']:,} images seen in "
        f"{reader['seconds']:.0f} s,\ntrained on {sum(reader['train']):,}, chosen on {sum(reader['val']):,} "
        f"(accuracy {reader['validation']:.3f}); brackets: 95 %\n{machine()}"
    )
    table = Table("accuracy", *(f"{name}" for name in scores), title=title, caption=about)
    for name in (*CLASSES, "macro"):
        cells = (scores[group][name] for group in scores)
        table.add_row(name, *(f"{c['accuracy']:.3f} [{c['low']:.3f}, {c['high']:.3f}] n={c['n']}" for c in cells))
    points = result["points_to_real"]
    verdict = {name: "[green]ok" if value >= -GOAL else "[red]missed" for name, value in points.items()}
    verdict["shuffled prompts"] = "straw man"
    goal = [f"{points[name]:+.1f} ({verdict[name]}[/])" if name in points else "" for name in scores]
    table.add_row(f"points to real, goal >= -{GOAL:g}", *(text.replace("straw man[/]", "straw man") for text in goal))
    console().print(table)
    distances = Table("set", "Fréchet distance to real test", "n", title="in the classifier's features")
    for name, one in result["frechet"].items():
        value = f"{one['distance']:.2f} [{one['low']:.2f}, {one['high']:.2f}]"
        distances.add_row(name, value, str(one["n"]))
    distances.caption = f"median and 95 % range over {DIVISIONS} random halves of the real test galaxies"
    console().print(distances)


def main() -> None:
    parser = argparse.ArgumentParser(description="Read dreamed galaxies back with a classifier of real ones.")
    parser.add_argument("--data", type=Path, action="append", required=True, help="dataset folder; repeatable")
    parser.add_argument("--survey", default="sdss", help="only datasets of this survey")
    parser.add_argument("--model", default="mini", help="a shipped model or a model folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for consistency.json and misread.png")
    parser.add_argument("-n", type=int, default=200, help="dreamed galaxies per class")
    parser.add_argument("--images", type=int, default=120_000, help="images the classifier sees in training")
    parser.add_argument("--prompts-from-real", action="store_true", help="also ask for morphologies of test galaxies")
    parser.add_argument("--limit", type=int, help="real galaxies per class and split, for a trial")
    parser.add_argument("--seed", type=int, default=0)
    run_script(parser, evaluate, show, "consistency.json")


if __name__ == "__main__":
    main()
