"""How fast classifiers are trained and used, and whether the memory of classifying grows with the number of galaxies.

In: nothing; galaxies are drawn (data/toy_survey.py) and copied under other names. Out: a table and
`classification.json`.

    python benchmarks/classification.py --out OUT [--galaxies 4000] [--images 6400]

Training is that of the default network at 64 px on one thread, from the first batch to the last (batches, dihedral
turns, optimiser, average). Classifying is measured twice: the network alone, and `predict_table` from PNG files to
Parquet in a process of its own, at n and 4 n galaxies. One galaxy is one galaxy, whether seen once or in eight
orientations. Seconds are of the wall clock; images per second of processor time stand beside them, since another job on
the machine takes the first and hardly the second.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import Row, at_least, at_most, empty_folder, print_results, run_process, run_script

from galaxysd.classifiers.train import ClassifierSettings, GalaxyClassifier, train_classifier
from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.data.toy_survey import make_toy_survey

SIDE, CLASSES = 64, 8
DRAWN = 64  # different pictures; the others are the same under other names
GOAL_TRAIN, GOAL_CLASSIFY, GOAL_MEMORY = 700, 500, 1.1

PREDICT = """
import sys
from galaxysd.classifiers.predict import predict_table
predict_table(sys.argv[1], [sys.argv[2]], sys.argv[3], orientations=int(sys.argv[4]))
"""


def random_examples(n: int, *, size: int = SIDE, seed: int = 0) -> GalaxySet:
    """Noise with random classes: speed does not depend on what is to be seen."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, size, size, 3)).astype(np.uint8)
    ids = tuple(f"noise:{index}" for index in range(n))
    return GalaxySet(images, ids, labels=rng.integers(0, CLASSES, n))


def training(
    folder: Path, settings: ClassifierSettings, examples: GalaxySet
) -> tuple[GalaxyClassifier, dict[str, float]]:
    """Train on one thread; images per second of wall clock and of processor time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    wall, busy = time.perf_counter(), time.process_time()
    names = tuple(f"class {index}" for index in range(CLASSES))
    made = train_classifier(examples, examples.subset([]), names, folder, settings)
    speed = {
        "per_second": settings.images / (time.perf_counter() - wall),
        "per_cpu_second": settings.images / (time.process_time() - busy),
    }
    torch.set_num_threads(threads)
    return made, speed


def classifying(classifier: GalaxyClassifier, examples: GalaxySet, orientations: int) -> dict[str, float]:
    """Galaxies per second of the network alone, all threads."""
    classifier.probabilities(examples.images[:64], orientations)
    wall, busy = time.perf_counter(), time.process_time()
    classifier.probabilities(examples.images, orientations)
    count = len(examples)
    return {
        "per_second": count / (time.perf_counter() - wall),
        "per_cpu_second": count / (time.process_time() - busy),
    }


def picture_folder(folder: Path, n: int, *, size: int = SIDE, drawn: int = DRAWN) -> Path:
    """N names for some toy galaxies, PNG."""
    survey = folder.parent / "survey"
    if not survey.exists():
        make_toy_survey(survey, n=drawn, seed=0, size=size)
    pictures = sorted((survey / "images").glob("*.png"))
    folder.mkdir()
    for index in range(n):
        os.link(pictures[index % len(pictures)], folder / f"{index:07d}.png")
    return folder


def tables(work: Path, model: Path, n: int, orientations: int, *, size: int = SIDE) -> list[dict[str, float]]:
    """Seconds and peak memory of a process that classifies n and 4 n files."""
    found = []
    for count in (n, 4 * n):
        pictures = picture_folder(work / f"pictures-{count}-{orientations}", count, size=size)
        out = work / f"{count}-{orientations}.parquet"
        command = [sys.executable, "-c", PREDICT, str(pictures), str(model), str(out), str(orientations)]
        process = run_process(command)
        found.append({"galaxies": count, "seconds": process.seconds, "peak_mb": process.peak_mb})
    return found


def evaluate(options: argparse.Namespace) -> dict[str, Any]:
    """All measurements."""
    empty_folder(options.out)
    settings = ClassifierSettings(images=options.images)
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        classifier, trained = training(work / "run", settings, random_examples(1_024))
        alone = {count: classifying(classifier, random_examples(1_024, seed=1), count) for count in (1, 8)}
        return {
            "training": trained,
            "classifying": {str(count): speed for count, speed in alone.items()},
            "tables": tables(work, work / "run" / "model", options.galaxies, 1),
        }


def show(result: dict[str, Any]) -> None:
    """Print what was measured beside what was aimed at."""
    trained, small, large = result["training"], *result["tables"]
    steady = (large["galaxies"] - small["galaxies"]) / (large["seconds"] - small["seconds"])
    rows = [
        at_least(
            "training, one thread, per second of processor time", trained["per_cpu_second"], GOAL_TRAIN, "images/s", 0
        ),
        Row("training, one thread, wall clock", f"{trained['per_second']:,.0f} images/s"),
    ]
    for count, speed in result["classifying"].items():
        each = "one orientation" if count == "1" else f"mean of {count} orientations"
        rows.append(at_least(f"classifying, {each}", speed["per_second"], GOAL_CLASSIFY, "galaxies/s", 0))
        rows.append(Row("  the same per second of processor time", f"{speed['per_cpu_second']:,.0f} galaxies/s"))
    rows += [
        at_least("files to table, one orientation, without the start", steady, GOAL_CLASSIFY, "galaxies/s", 0),
        Row(
            "peak memory",
            f"{small['peak_mb']:,.0f} MB at {small['galaxies']:,}, {large['peak_mb']:,.0f} MB at {large['galaxies']:,}",
        ),
        at_most(
            "peak memory at four times as many galaxies", large["peak_mb"] / small["peak_mb"], GOAL_MEMORY, "times", 2
        ),
    ]
    print_results("Classifiers", rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for classification.json")
    parser.add_argument("--galaxies", type=int, default=4_000, help="files of the smaller table")
    parser.add_argument("--images", type=int, default=6_400, help="images of the training")
    run_script(parser, evaluate, show, "classification.json")


if __name__ == "__main__":
    main()
