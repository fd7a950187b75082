"""What do an encoder's features know of morphology? A linear classifier on them tells smooth, edge-on, spiral and bar.

In: dataset folders and encoders. Out: a table of accuracies on the `test` galaxies, beside those of raw pixels and of
the same network without training, and `probe.json`. A galaxy has a class where at least 70 %
of the volunteers agree on it, at least half of them reached the question, and it has five votes or more; a spiral is
one with at most 30 % for a bar.

    python benchmarks/probe.py --data DATASET [--data DATASET] --encoder RUN/model [--encoder galaxyemb] --out OUT

Features are standardised on `train`; logistic regression with every class weighed alike is fitted to `train`, the
strength of its L2 penalty chosen by the macro accuracy on `val`, and `test` is read once (Alain and Bengio 2016, arXiv
1610.01644; protocol of Chen et al. 2020, arXiv 2002.05709, appendix B.8).
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
import torch
from measure import all_pixels, console, empty_folder, machine, open_datasets, run_script, split_of
from rich.table import Table

from galaxysd.catalog.catalog import Catalog
from galaxysd.catalog.splits import check_disjoint
from galaxysd.data.dataset import Dataset
from galaxysd.encoders.galaxyemb import Encoder
from galaxysd.encoders.registry import load_encoder
from galaxysd.errors import InputError
from galaxysd.stats import wilson

CLASSES = ("smooth", "edge-on", "spiral", "bar")
AGREED, REACHED, ABSENT, LEAST_VOTES = 0.7, 0.5, 0.3, 5
BASELINES = ("pixels", "untrained")
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # inverse of the L2 penalty
TIMED = 512  # images

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Examples:
    """Images uint8 [N, S, S, 3] and their classes [N]."""

    images: npt.NDArray[np.uint8]
    labels: Labels


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


def real_galaxies(datasets: Sequence[Dataset], split: str, limit: int | None) -> Examples:
    """Galaxies of a split that have a class."""
    images, labels = [], []
    for dataset in datasets:
        catalog = split_of(dataset, split)
        label = classes_of(catalog)
        if (label >= 0).any():
            clear = catalog.filter(pl.Series(label >= 0))
            images.append(all_pixels(dataset, clear.frame["id"].to_list()))
            labels.append(label[label >= 0])
    counts = np.bincount(np.concatenate([np.empty(0, np.int64), *labels]), minlength=len(CLASSES))
    if counts.min() < 2:
        raise InputError(f"split {split!r}: too few galaxies of class {CLASSES[int(counts.argmin())]!r} to go by")
    found = Examples(np.concatenate(images), np.concatenate(labels))
    if limit is not None:
        keep = np.concatenate([np.flatnonzero(found.labels == index)[:limit] for index in range(len(CLASSES))])
        found = Examples(found.images[keep], found.labels[keep])
    return found


@dataclass(frozen=True)
class Probe:
    """A fitted linear classifier.

    Attributes:
        read: classes of the test galaxies as it reads them [N].
        strength: inverse of the L2 penalty that was chosen.
        validation: macro accuracy on the validation galaxies with it.
    """

    read: Labels
    strength: float
    validation: float


def fit_probe(train: tuple[Floats, Labels], val: tuple[Floats, Labels], test: Floats, seed: int) -> Probe:
    """Fit on features [N, D] and classes [N] of `train`, choose on `val`, read features `test`."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train[0])
    best: tuple[float, float, LogisticRegression] | None = None
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, class_weight="balanced", max_iter=3000)
        model.fit(scaler.transform(train[0]), train[1])
        right = model.predict(scaler.transform(val[0])) == val[1]
        score = macro(right, val[1], seed, resamples=1)[0]
        if best is None or score > best[0]:  # of equals the simpler one
            best = (score, strength, model)
    assert best is not None
    return Probe(best[2].predict(scaler.transform(test)), best[1], best[0])


def measure(encoder: Encoder, train: Examples, val: Examples, test: Examples, seed: int) -> dict[str, Any]:
    """Accuracy of one encoder, and its speed."""
    features = [encoder.features(one.images).astype(np.float64) for one in (train, val, test)]
    probe = fit_probe((features[0], train.labels), (features[1], val.labels), features[2], seed)
    some = np.resize(test.images, (TIMED, *test.images.shape[1:]))
    began = time.perf_counter()
    encoder.features(some)
    seconds = time.perf_counter() - began
    return {
        "hash": encoder.hash,
        "dimension": encoder.dimension,
        "accuracy": Reading(encoder.name, test.labels, probe.read, features[2]).accuracy(seed),
        "strength": probe.strength,
        "validation": probe.validation,
        "galaxies_per_second": TIMED / seconds,
    }


def evaluate(options: argparse.Namespace) -> dict[str, Any]:
    """All encoders on the same galaxies."""
    empty_folder(options.out)
    datasets = open_datasets(options.data, options.survey)
    check_disjoint([dataset.catalog for dataset in datasets])
    device = torch.device(options.device)
    names = [*BASELINES, *options.encoder]
    encoders = {name: load_encoder(name, device, orientations=options.orientations) for name in names}
    train, val, test = (real_galaxies(datasets, split, options.limit) for split in ("train", "val", "test"))
    return {
        "seed": options.seed,
        "orientations": options.orientations,
        "data": [{"survey": one.survey, "inputs": one.info.inputs} for one in datasets],
        "n": {name: np.bincount(one.labels).tolist() for name, one in (("train", train), ("val", val), ("test", test))},
        "encoders": {name: measure(encoder, train, val, test, options.seed) for name, encoder in encoders.items()},
    }


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    found, n = result["encoders"], result["n"]
    about = (
        f"trained on {sum(n['train']):,}, penalty chosen on {sum(n['val']):,}; seed {result['seed']}; brackets: 95 %\n"
        f"{machine()}"
    )
    table = Table("accuracy on test", "n", *found, title="linear probe of features", caption=about)
    for name in (*CLASSES, "macro"):
        cells = [one["accuracy"][name] for one in found.values()]
        values = (f"{cell['accuracy']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]" for cell in cells)
        table.add_row(name, str(cells[0]["n"]), *values)
    table.add_row("features", "", *(str(one["dimension"]) for one in found.values()))
    table.add_row("galaxies/s", "", *(f"{one['galaxies_per_second']:,.0f}" for one in found.values()))
    console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description="Linear probe of encoders on four clear classes of galaxies.")
    parser.add_argument("--data", type=Path, action="append", required=True, help="dataset folder; repeatable")
    parser.add_argument("--encoder", action="append", default=[], help="name or folder of an encoder; repeatable")
    parser.add_argument("--survey", default="sdss", help="only datasets of this survey")
    parser.add_argument("--out", type=Path, required=True, help="folder for probe.json")
    parser.add_argument("--orientations", type=int, choices=(1, 8), default=1, help="turns and flips to average over")
    parser.add_argument("--device", default="cpu", help="where to compute")
    parser.add_argument("--limit", type=int, help="galaxies per class and split, for a trial")
    parser.add_argument("--seed", type=int, default=0)
    run_script(parser, evaluate, show, "probe.json")


if __name__ == "__main__":
    main()
