"""A million galaxies: how long reading and selecting takes, and how much memory.

Writes a table in the schema of Hart et al. 2016 (231 columns, made-up votes that follow the tree) into a temporary
folder, reads, selects and splits it in a process of its own, and prints seconds and peak memory against the limits.

    python benchmarks/catalog_million.py            exit code 1 where a limit is broken
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from galaxysd.catalog import Catalog, DecisionTree, read_votes
from galaxysd.catalog.selection import balance, classify, clean, well_sampled
from galaxysd.catalog.splits import assign_splits

LIMIT_SECONDS = 30.0
LIMIT_GB = 2.0
CLASSIFICATIONS = 44
CHUNK = 50_000


def fake_votes(rows: int, start: int, rng: np.random.Generator) -> pl.DataFrame:
    """A piece of a Hart-like table: counts that follow the tree, fractions from the counts."""
    columns: dict[str, npt.NDArray[np.generic]] = {
        "dr7objid": np.arange(start, start + rows) + 587_722_981_741_363_294,
        "ra": np.round(rng.uniform(0, 360, rows), 6),
        "dec": np.round(np.degrees(np.arcsin(rng.uniform(-0.17, 0.94, rows))), 6),
        "total_classifications": np.full(rows, CLASSIFICATIONS),
    }
    counts: dict[str, npt.NDArray[np.int64]] = {}
    for question in DecisionTree.load("gz2").questions:
        asked = sum((counts[answer] for answer in question.after), start=np.zeros(rows, dtype=np.int64))
        asked = asked if question.after else np.full(rows, CLASSIFICATIONS)
        answers = rng.multinomial(asked, rng.dirichlet(np.ones(len(question.answers)), rows))
        for index, column in enumerate(question.columns):
            counts[column] = answers[:, index]
            fraction = np.round(counts[column] / np.maximum(asked, 1), 3)
            columns |= {
                f"{column}_count": counts[column],
                f"{column}_weight": counts[column].astype(np.float64),
                f"{column}_fraction": fraction,
                f"{column}_weighted_fraction": fraction,
                f"{column}_debiased": fraction,
                f"{column}_flag": (fraction > 0.8).astype(np.int64),
            }
    head = pl.DataFrame(columns)
    text = [pl.lit(value).alias(name) for name, value in (("rastring", "16:50:28.6"), ("sample", "original"))]
    return head.with_columns(*text, dec_string=pl.lit("+38:49:10.0"), gz2_class=pl.lit("Sc?t"))


def write_table(path: Path, rows: int) -> None:
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        for start in range(0, rows, CHUNK):
            piece = fake_votes(min(CHUNK, rows - start), start, rng)
            piece.write_csv(file, include_header=start == 0)


def read_and_select(path: Path) -> dict[str, Any]:
    """What the benchmark times: counts of galaxies, and seconds per step."""
    steps: dict[str, float] = {}
    began = time.perf_counter()

    def done(step: str) -> None:
        steps[step] = time.perf_counter() - began - sum(steps.values())

    catalog: Catalog = read_votes(path, tree=DecisionTree.load("gz2"), survey="sdss")
    rows = len(catalog)
    done("read")
    sampled = catalog.filter(well_sampled(catalog, "t04_spiral"))
    barred = clean(catalog, "t03_bar_a06_bar").sum()
    done("well sampled and clean cut")
    classes = classify(catalog)
    mix = {"round": 0.25, "in_between": 0.25, "edge_on": 0.25, "barred_spiral": 0.25}
    balanced = balance(catalog, mix, seed=0, classes=classes).catalog
    done("classes and balance")
    train = (assign_splits(catalog, seed=0).frame["split"] == "train").sum()
    done("splits")
    counts = {"rows": rows, "well sampled": len(sampled), "clean bars": barred}
    counts |= {"balanced": len(balanced), "train": train}
    return counts | {f"seconds, {step}": seconds for step, seconds in steps.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description="Read and select a million galaxies.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)  # the process that is measured
    options = parser.parse_args()
    if options.read:
        print(json.dumps(read_and_select(options.read)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "votes.csv"
        write_table(path, options.rows)
        print(f"table: {options.rows:,} rows, {path.stat().st_size / 1e9:.2f} GB of CSV")
        began = time.perf_counter()
        child = subprocess.run([sys.executable, __file__, "--read", str(path)], stdout=subprocess.PIPE, check=True)
        seconds = time.perf_counter() - began
    # all children together: the measured process is the only one
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2
    for name, value in json.loads(child.stdout).items():
        print(f"  {name:36} {value:,.2f}" if isinstance(value, float) else f"  {name:36} {value:,}")
    print(f"seconds, process start to end: {seconds:.1f} (limit {LIMIT_SECONDS:g})")
    print(f"peak memory: {peak:.2f} GB (limit {LIMIT_GB:g})")
    return 0 if seconds <= LIMIT_SECONDS and peak <= LIMIT_GB else 1


if __name__ == "__main__":
    sys.exit(main())
