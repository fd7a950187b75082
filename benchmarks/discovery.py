"""How fast a survey is searched: galaxies a second and memory, on one process and on Ray, and hours for large surveys.

    python benchmarks/discovery.py --data DATASET --data DATASET --out OUT

The images of the datasets are scored by a ranker as `galaxysd discover` makes it, taught from a few galaxies only,
since its weights hardly matter here. Each run is a process of its own, with all that it starts; its memory is the sum
over them. Scores of both engines are compared galaxy by galaxy.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measure import Row, at_most, empty_folder, open_datasets, print_results, run_script

from galaxysd.data.dataset import Dataset
from galaxysd.encoders.registry import load_encoder
from galaxysd.search.discover import DiscoverSettings
from galaxysd.search.ranker import TargetRanker, train_ranker
from galaxysd.search.score import ENGINES, scan_scores, score_survey
from galaxysd.search.survey import Survey
from galaxysd.search.training_set import UNLABELLED, Group

SURVEYS = {"Galaxy Zoo 2": 239_695, "ten million galaxies": 10_000_000}
PAGE = os.sysconf("SC_PAGE_SIZE")


def shards(datasets: Sequence[Dataset]) -> list[Path]:
    """All image files of the datasets."""
    return [dataset.folder / name for dataset in datasets for name in dataset.info.shards]


def make_judge(datasets: Sequence[Dataset], encoder: str) -> TargetRanker:
    """A ranker of the shape of a search, taught from 128 galaxies; the same in every process."""
    images = next(images for _, images in datasets[0].pixels(batch=128))
    groups = [
        Group(name, label, tuple(f"{name}{row}" for row in range(len(part))), part, generated=False)
        for label, (name, part) in enumerate(zip((UNLABELLED, "known"), np.array_split(images, 2), strict=True))
    ]
    settings = DiscoverSettings()
    return train_ranker(load_encoder(encoder), groups, [], settings.ranker, members=settings.members)


def resident(root: int) -> float:
    """Resident memory of a process and all its descendants now, MB (pages that they share count for each)."""
    parents, pages = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)], pages[int(entry.name)] = int(fields[1]), int(fields[21])
            except (OSError, IndexError):
                continue  # it has ended
    family = {root}
    while more := {process for process, parent in parents.items() if parent in family and process not in family}:
        family |= more
    return sum(pages.get(process, 0) for process in family) * PAGE / 2**20


def run_family(command: Sequence[str]) -> tuple[str, float]:
    """Run a command to its end: what it printed, and the largest memory it had with all it started, MB."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak, ended = [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            peak[0] = max(peak[0], resident(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    text, _ = process.communicate()
    ended.set()
    watcher.join()
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}: {' '.join(command)}")
    return text, peak[0]


def score(options: argparse.Namespace) -> None:
    """Score once, and print the seconds it took; the part that runs in a process of its own."""
    datasets = open_datasets(options.data)
    survey, ranker = Survey.open(shards(datasets), limit=options.n), make_judge(datasets, options.encoder)
    began = time.perf_counter()
    score_survey(survey, ranker, options.scores, engine=options.score, workers=options.workers)
    print(json.dumps({"images": len(survey), "seconds": time.perf_counter() - began}))


def measured(options: argparse.Namespace, engine: str, n: int | None, scores: Path) -> dict[str, Any]:
    """One run of an engine."""
    command = [sys.executable, __file__, "--score", engine, "--scores", str(scores), "--out", str(options.out)]
    command += [part for folder in options.data for part in ("--data", str(folder))]
    command += ["--encoder", options.encoder]
    command += [] if n is None else ["--n", str(n)]
    command += [] if options.workers is None else ["--workers", str(options.workers)]
    text, peak = run_family(command)
    found = json.loads(text.splitlines()[-1])
    return {"engine": engine, **found, "peak_mb": peak, "per_second": found["images"] / found["seconds"]}


def largest_difference(one: Path, other: Path) -> float:
    """Of the scores of any galaxy between two runs.

    Raises:
        ValueError: they did not score the same galaxies.
    """
    pair = scan_scores(one).join(scan_scores(other), on="id", how="full", suffix="_other").collect()
    if pair["id"].null_count() or pair["id_other"].null_count():
        raise ValueError("the two runs scored different galaxies")
    return float((pair["score"] - pair["score_other"]).abs().max() or 0.0)  # type: ignore[arg-type]


def evaluate(options: argparse.Namespace) -> dict[str, Any]:
    """Both engines over everything, and one process over a quarter, a half and everything."""
    datasets = open_datasets(options.data)
    total = sum(len(dataset) for dataset in datasets)
    out = empty_folder(options.out)
    with tempfile.TemporaryDirectory(dir=out) as place:
        runs = [
            measured(options, "process", n, Path(place) / f"process-{n or total}")
            for n in (total // 4, total // 2, None)
        ]
        difference = None
        if "ray" in options.engines:
            runs.append(measured(options, "ray", None, Path(place) / "ray"))
            difference = largest_difference(Path(place) / f"process-{total}", Path(place) / "ray")
    return {
        "galaxies": total,
        "encoder": options.encoder,
        "runs": runs,
        "largest_difference": difference,
        "hours": {name: n / runs[2]["per_second"] / 3600 for name, n in SURVEYS.items()},
    }


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    *_, whole = [run for run in result["runs"] if run["engine"] == "process"]
    rows = [
        Row(f"{run['engine']}, {run['images']:,} galaxies", f"{run['per_second']:,.1f} /s, {run['peak_mb']:,.0f} MB")
        for run in result["runs"]
    ]
    quarter = result["runs"][0]
    rows.append(
        at_most("memory of all galaxies over that of a quarter", whole["peak_mb"] / quarter["peak_mb"], 1.2, "", 2)
    )
    if result["largest_difference"] is not None:
        ray = result["runs"][-1]
        rows.append(Row("Ray over one process", f"{ray['per_second'] / whole['per_second']:.2f}"))
        rows.append(at_most("largest difference of a score", result["largest_difference"], 1e-5, "", 7))
    rows += [Row(f"{name} on one process", f"{hours:,.1f} h") for name, hours in result["hours"].items()]
    caption = f"encoder {result['encoder']}"
    print_results("scoring a survey", rows, caption)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how fast a survey is searched.")
    parser.add_argument("--data", type=Path, action="append", required=True, help="dataset folder; repeatable")
    parser.add_argument("--out", type=Path, required=True, help="folder for discovery.json")
    parser.add_argument("--encoder", default="galaxyemb", help="as for galaxysd discover")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--workers", type=int, help="processes of Ray, by default one per core")
    parser.add_argument("--score", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--scores", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--n", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.score:
        score(options)
        return
    run_script(parser, evaluate, show, "discovery.json")


if __name__ == "__main__":
    main()
