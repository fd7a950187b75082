"""What the benchmarks share: a table of results, measured peaks of the machine, processes with their memory, galaxies.

In: functions to time, commands to run, dataset folders. Out: numbers, and one rich table per script that shows what was
measured beside its target. A missed target is shown, never raised.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.table import Table

from galaxysd.catalog.catalog import Catalog
from galaxysd.data.dataset import Dataset
from galaxysd.diffusion.data import DataSettings, believed
from galaxysd.errors import InputError
from galaxysd.io import write_atomically
from galaxysd.prompts import Morphology
from galaxysd.runs import versions

Pixels = npt.NDArray[np.uint8]

# A child's peak memory starts at that of the process it was forked from, so a bare Python stands between. It prints
# seconds, peak in kB (bytes on macOS) and exit code.
LAUNCHER = """
import json, os, subprocess, sys, time
began = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
print(json.dumps([time.perf_counter() - began, usage.ru_maxrss, os.waitstatus_to_exitcode(status)]))
"""
PER_MB = 1024**2 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Row:
    """A line of a table of results.

    Attributes:
        what: what was measured.
        value: the result, with its unit.
        target: what was aimed at; empty: nothing.
        ok: whether it was reached; None: nothing was aimed at.
    """

    what: str
    value: str
    target: str = ""
    ok: bool | None = None


@dataclass(frozen=True)
class Process:
    """A process that has ended: seconds from its start to its end, and its peak resident memory in MB."""

    seconds: float
    peak_mb: float


def at_least(what: str, value: float, target: float, unit: str, digits: int = 1) -> Row:
    """A row that wants a value not below its target."""
    return Row(what, f"{value:,.{digits}f} {unit}", f">= {target:g} {unit}", value >= target)


def at_most(what: str, value: float, target: float, unit: str, digits: int = 1) -> Row:
    """A row that wants a value not above its target."""
    return Row(what, f"{value:,.{digits}f} {unit}", f"<= {target:g} {unit}", value <= target)


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Median and range of repeated measurements, as text."""
    if len(values) == 1:
        return f"{values[0]:,.{digits}f}"
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def print_results(title: str, rows: Sequence[Row], caption: str = "") -> None:
    """Print the rows as one table."""
    table = Table("measured", "value", "target", "", title=title, caption=f"{caption}\n{machine()}".strip())
    table.columns[1].justify = "right"
    for row in rows:
        verdict = {True: "[green]ok", False: "[red]missed", None: ""}[row.ok]
        table.add_row(row.what, row.value, row.target, verdict)
    console().print(table)


def console() -> Console:
    """Where tables go: as wide as they need where the output is a file or a pipe."""
    return Console(width=None if sys.stdout.isatty() else 130)


def machine() -> str:
    """What the numbers depend on, in one line."""
    found = versions()
    load = Path("/proc/loadavg")
    busy = f", load {load.read_text().split()[0]}" if load.is_file() else ""
    return f"{torch.get_num_threads()} threads, torch {found['torch']}, galaxysd {found['galaxysd']}{busy}"


def median_seconds(action: Callable[[], object], repeats: int) -> float:
    """Median time of an action, s; it is done once more, unmeasured, before."""
    action()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


@torch.inference_mode()
def matmul_peak(precision: torch.dtype, *, size: int = 2048, repeats: int = 7) -> float:
    """Measured peak of a square matrix product, GFLOP/s (2 n^3 operations each)."""
    left, right = torch.randn(size, size).to(precision), torch.randn(size, size).to(precision)
    out = torch.empty(size, size, dtype=precision)
    return 2 * size**3 / median_seconds(lambda: torch.matmul(left, right, out=out), repeats) / 1e9


def run_process(command: Sequence[str]) -> Process:
    """Run a command to its end; only its errors are shown.

    Raises:
        RuntimeError: it failed.
    """
    launched = subprocess.run(
        [sys.executable, "-S", "-E", "-c", LAUNCHER, *command], stdout=subprocess.PIPE, text=True, check=True
    )
    seconds, peak, status = json.loads(launched.stdout)
    if status != 0:
        raise RuntimeError(f"exit code {status}: {' '.join(command)}")
    return Process(seconds, peak / PER_MB)


def galaxysd(*arguments: str) -> list[str]:
    """The command line of this installation as a command to run."""
    return [sys.executable, "-m", "galaxysd", *arguments]


def run_script(
    parser: argparse.ArgumentParser,
    evaluate: Callable[[argparse.Namespace], dict[str, Any]],
    show: Callable[[dict[str, Any]], None],
    file: str,
) -> None:
    """Run a script that writes OUT/`file` and prints its tables; bad input ends it with one line."""
    options = parser.parse_args()
    try:
        result = evaluate(options)
    except InputError as error:
        parser.error(str(error))
    write_atomically(options.out / file, json.dumps(result, indent=2) + "\n")
    show(result)


def empty_folder(path: Path) -> Path:
    """The folder for the results, created where it is not there.

    Raises:
        InputError: the path is a file, or cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be used as a folder ({error.strerror})") from None
    return path


def open_datasets(folders: Sequence[Path], survey: str | None = None) -> list[Dataset]:
    """Dataset folders, those of one survey if it is given.

    Raises:
        InputError: a folder is not a dataset, or none is of that survey.
    """
    opened = [Dataset.open(folder) for folder in folders]
    chosen = [dataset for dataset in opened if survey in (None, dataset.survey)]
    if not chosen:
        found = ", ".join(sorted({dataset.survey for dataset in opened}))
        raise InputError(f"none of the datasets is of survey {survey!r}; they are of {found}")
    return chosen


def split_of(dataset: Dataset, split: str) -> Catalog:
    """The galaxies of a split, in the order in which `Dataset.pixels` streams them."""
    return dataset.catalog.filter(dataset.catalog.frame["split"] == split)


def all_pixels(dataset: Dataset, which: str | Sequence[str]) -> Pixels:
    """Images of a split or of some ids in catalogue order, uint8 [N, S, S, 3]."""
    batches = [images for _, images in dataset.pixels(which)]
    return np.concatenate(batches) if batches else np.empty((0, dataset.info.size, dataset.info.size, 3), np.uint8)


def morphologies(catalog: Catalog) -> Iterator[Morphology]:
    """Each galaxy as the model was told of it: the questions with too few votes are left out."""
    trusted = believed(catalog, DataSettings())
    for row, known in zip(catalog.frame.iter_rows(named=True), trusted, strict=True):
        told = [question for question, kept in zip(catalog.tree.questions, known, strict=True) if kept]
        asked = {column: row[column] for question in told for column in question.columns}
        yield Morphology.from_row({"id": row["id"], **asked}, catalog.tree, catalog.survey)


def planes(images: Pixels) -> torch.Tensor:
    """uint8 [N, S, S, 3] -> uint8 tensor [N, 3, S, S]."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
