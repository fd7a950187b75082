"""How long a report takes: seconds per stage, galaxies embedded per second and peak memory, with and without a cache.

In: dataset folders, a model. Out: OUT/report.json and two tables. For each number of galaxies two reports are made,
each in a process of its own: the first finds nothing done before; the second judges the same model with one step more,
so that its generated galaxies are new and all that is known of real galaxies is there already, as for every later
generator.

    python benchmarks/report.py --data DATASET --out OUT
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from measure import (
    Row,
    at_least,
    at_most,
    console,
    empty_folder,
    galaxysd,
    machine,
    median_seconds,
    open_datasets,
    print_results,
    run_process,
    run_script,
)
from rich.table import Table

from galaxysd.data.dataset import Dataset
from galaxysd.diffusion.pipeline import GalaxyPipeline
from galaxysd.encoders.galaxyemb import Encoder
from galaxysd.encoders.registry import load_encoder
from galaxysd.errors import InputError

MINUTES = 5.0  # for a report of 1,000 galaxies on two cores
PER_SECOND = 200.0  # galaxies embedded on two cores
EMBEDDED = 512  # galaxies of the measurement of an encoder


def stages(folder: Path) -> dict[str, float]:
    """Seconds of each stage of a report, from its metrics."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return {line["stage"]: line["seconds"] for line in lines if "stage" in line}


def embedding_speed(encoder: Encoder, dataset: Dataset) -> float:
    """Galaxies per second."""
    images = next(dataset.pixels(batch=EMBEDDED))[1]
    return len(images) / median_seconds(lambda: encoder.features(images), 3)


def evaluate(options: argparse.Namespace) -> dict[str, Any]:
    """Make the reports.

    Raises:
        InputError: no such dataset, model or encoder, or the folder holds reports already.
    """
    datasets = open_datasets(options.data)
    encoder = load_encoder(options.encoder)
    steps = GalaxyPipeline.from_pretrained(options.model).sampling().steps
    folder = empty_folder(options.out)
    runs: dict[str, dict[str, Any]] = {}
    for n in sorted(options.n):
        place = folder / f"n{n}"
        if place.exists():
            raise InputError(f"{place}: exists, so nothing could be measured anew; choose another folder")
        for name, number in (("nothing cached", steps), ("real galaxies cached", steps + 1)):
            out = place / name.replace(" ", "-")
            arguments = ["evaluate", "--out", str(out), "--model", options.model, "--encoder", options.encoder]
            arguments += ["-n", str(n), "--steps", str(number), "--seed", str(options.seed)]
            arguments += [part for path in options.data for part in ("--data", str(path))]
            process = run_process(galaxysd(*arguments))
            runs[f"{n:,} galaxies, {name}"] = {
                "n": n,
                "cached": number > steps,
                "seconds": process.seconds,
                "peak_mb": process.peak_mb,
                "stages": stages(out),
            }
    speed = embedding_speed(encoder, datasets[0])
    return {"runs": runs, "galaxies_per_second": speed, "encoder": encoder.name, "seed": options.seed}


def rows_of(result: dict[str, Any]) -> list[Row]:
    """What is compared with its target: only the reports of the largest number of galaxies are."""
    most = max(run["n"] for run in result["runs"].values())
    rows = [at_least(f"embedding, {result['encoder']}", result["galaxies_per_second"], PER_SECOND, "galaxies/s")]
    for name, run in result["runs"].items():
        minutes = run["seconds"] / 60
        rows.append(at_most(name, minutes, MINUTES, "min") if run["n"] == most else Row(name, f"{minutes:.1f} min"))
    rows += [Row(f"peak memory, {name}", f"{run['peak_mb']:,.0f} MB") for name, run in result["runs"].items()]
    return rows


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    runs = result["runs"]
    names = list(dict.fromkeys(stage for run in runs.values() for stage in run["stages"]))
    table = Table("stage, s", *runs, title="seconds per stage", caption=machine())
    for column in table.columns[1:]:
        column.justify = "right"
    for stage in names:
        found = [run["stages"].get(stage) for run in runs.values()]
        table.add_row(stage, *("-" if value is None else f"{value:,.1f}" for value in found))
    sums = np.array([[run["seconds"], sum(run["stages"].values())] for run in runs.values()])
    table.add_row("start, data and page", *(f"{whole - part:,.1f}" for whole, part in sums))
    table.add_row("all", *(f"{whole:,.1f}" for whole, _ in sums))
    console().print(table)
    print_results("reports", rows_of(result), f"seed {result['seed']}")


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", required=True, help="dataset folder; repeatable")
    parser.add_argument("--out", type=Path, required=True, help="folder for reports and results")
    parser.add_argument("--model", default="mini", help="a shipped model or a model folder")
    parser.add_argument("--encoder", default="galaxyemb", help="as for galaxysd evaluate")
    parser.add_argument("-n", type=int, nargs="+", default=[250, 1000], help="galaxies of a report")
    parser.add_argument("--seed", type=int, default=0)
    run_script(parser, evaluate, show, "report.json")


if __name__ == "__main__":
    main()
