"""What do an encoder's features know of morphology? A linear classifier on them tells smooth, edge-on, spiral and bar.

In: dataset folders and encoders. Out: a table of accuracies on the `test` galaxies, beside those of raw pixels and of
the same network without training, and `probe.json`. Classes are those of consistency.py.

    python benchmarks/probe.py --data DATASET [--data DATASET] --encoder RUN/model [--encoder galaxyemb] --out OUT

Features are standardised on `train`; logistic regression with every class weighed alike is fitted to `train`, the
strength of its L2 penalty chosen by the macro accuracy on `val`, and `test` is read once (Alain and Bengio 2016, arXiv
1610.01644; protocol of Chen et al. 2020, arXiv 2002.05709, appendix B.8).
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from consistency import CLASSES, Reading, macro, real_galaxies
from measure import console, empty_folder, machine, open_datasets, run_script
from reader import GalaxySet
from rich.table import Table

from galaxysd.catalog.splits import check_disjoint
from galaxysd.encoders.galaxyemb import Encoder
from galaxysd.encoders.registry import load_encoder

BASELINES = ("pixels", "untrained")
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # inverse of the L2 penalty
TIMED = 512  # images

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


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


def measure(encoder: Encoder, train: GalaxySet, val: GalaxySet, test: GalaxySet, seed: int) -> dict[str, Any]:
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
    train, val, test = (real_galaxies(datasets, split, options.limit)[0] for split in ("train", "val", "test"))
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
