"""How good is a generator? One command fills in the table by which it is judged, beside real galaxies and others.

    python experiments/generator_table.py --model mini --data DATASET... --out table/generator.json --work FOLDER
        [--images NAME=FOLDER_OR_NPZ ...] [--results results/generator.json] [--sheet] [--gate]

In: a model (shipped or a folder), dataset folders, and images of other generators (`generator_samples.from_arrays`).
Out: OUT (JSON), the same as Markdown beside it, and with --sheet and --gate pictures in the folder OUT without suffix.

Every row has n, seed and a 95 % interval, what real galaxies reach under the same rule, a sample that must do badly
("control"), the goal, and whether it is met. Rows, samples and everything measured of real galaxies are kept in WORK,
so that the same command goes on where it stopped. `--model none` measures only the images given.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import generator_sheets
import numpy as np
import torch
from generator_rows import Table, Values, row
from generator_samples import Bench, from_arrays, from_model

from galaxysd.diffusion.folder import resolve
from galaxysd.errors import InputError
from galaxysd.evaluation.reader import ReaderSettings
from galaxysd.io import write_atomically
from galaxysd.stats import Estimate

RATE = """
import sys, time, torch
if sys.argv[2] == "without":
    torch.cpu._is_avx512_bf16_supported = lambda: False
from galaxysd import GalaxyPipeline
pipeline = GalaxyPipeline.from_pretrained(sys.argv[1])
prompts = ["completely round galaxy", "edge-on galaxy", "barred spiral galaxy", "merger",
           "ring galaxy", "spiral galaxy", "cigar shaped galaxy", "edge-on galaxy, dust lane"]
pipeline(prompts, n=4)
for _ in range(3):
    began = time.perf_counter()
    pipeline(prompts, n=16)
    print(128 / (time.perf_counter() - began))
"""
FIRST = """
import sys, time
from galaxysd import GalaxyPipeline
GalaxyPipeline.from_pretrained(sys.argv[1])("edge-on galaxy", n=1)
print(time.time())
"""


def speed(model: str, seed: int) -> list[Values]:
    """Galaxies a second, the first galaxy, shipped bytes; never kept, since machines differ from hour to hour."""

    def run(script: str, *arguments: str, **environment: str) -> list[float]:
        command = [sys.executable, "-c", script, model, *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **environment})
        return [float(line) for line in done.stdout.split()]

    def middle(values: Sequence[float], n: int) -> Estimate:
        return Estimate(value=float(np.median(values)), low=min(values), high=max(values), n=n)

    found = []
    limits = [("without", 50.0, {"ONEDNN_MAX_CPU_ISA": "AVX2"})]
    if torch.cpu._is_avx512_bf16_supported():
        limits.insert(0, ("with", 100.0, {}))
    for name, goal, environment in limits:
        rate = middle(run(RATE, name, **environment), 3 * 128)
        found.append(
            row(
                f"galaxies/s, default settings, {name} bf16 matrix units",
                rate,
                seed,
                goal=f">= {goal:g}",
                met=rate.value >= goal,
            )
        )
    times = []
    for _ in range(3):
        began = time.time()
        times.append(run(FIRST)[0] - began)
    first = middle(times, 3)
    found.append(row("first galaxy after process start, s", first, seed, goal="<= 2.8", met=first.value <= 2.8))
    size = sum(path.stat().st_size for path in resolve(model).rglob("*") if path.is_file()) / 1e6
    found.append(
        row(
            "shipped bytes, MB",
            Estimate(value=size, low=size, high=size, n=1),
            seed,
            goal="<= 40",
            met=size <= 40,
        )
    )
    return found


def machine() -> str:
    """The class of the machine."""
    units = "with" if torch.cpu._is_avx512_bf16_supported() else "without"
    return f"{os.cpu_count()} cores, {platform.machine()}, {units} bf16 matrix units"


def text_of(value: float | None) -> str:
    """A number with three digits that count."""
    return "-" if value is None else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def markdown(result: Values) -> str:
    """The table for people."""
    others = result["images"]
    columns = ["measure", "n", "real", "control", result["model"], *others, "goal", "met"]
    lines = [f"# {result['what']}", "", f"model {result['model']} ({result['model_hash']}), {result['machine']}", ""]
    lines += [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]

    def cell(one: Values | None) -> str:
        if one is None or one["value"] is None:
            return "-"
        return f"{text_of(one['value'])} [{text_of(one['low'])}, {text_of(one['high'])}]"

    by_name = {name: {one["measure"]: one for one in other["rows"]} for name, other in others.items()}
    measures = {one["measure"]: one for other in others.values() for one in other["rows"]}
    measures |= {one["measure"]: one for one in result["rows"]}
    measures = {name: one for name, one in measures.items() if one["value"] is not None}
    own = {one["measure"]: one for one in result["rows"]}
    for name, one in measures.items():
        met = {True: "yes", False: "no", None: ""}[own[name]["met"] if name in own else None]
        cells = [cell(own.get(name)), *(cell(rows.get(name)) for rows in by_name.values())]
        lines.append(
            f"| {name} | {one['n']} | {text_of(one['real'])} | {text_of(one['control'])} | {' | '.join(cells)} "
            f"| {one['goal']} | {met} |"
        )
    lines += ["", "In brackets: 95 %. Where the model was not measured, n is that of the other images."]
    lines += [f"Seed {result['seed']}."]
    return "\n".join(lines) + "\n"


def measurement(result: Values) -> Values:
    """The table as a measurement of `results/` (tools/results.py): rows with their goal, columns with intervals."""

    def cell(one: Values | None) -> list[float] | float | None:
        if one is None or one["value"] is None:
            return None
        numbers = [one["value"], one["low"], one["high"]]
        return [rounded(number) for number in numbers] if None not in numbers else rounded(one["value"])

    others = {name: {one["measure"]: one for one in other["rows"]} for name, other in result["images"].items()}
    values = {}
    for one in result["rows"]:
        if one["value"] is not None:
            goal = f" (goal {one['goal']})" if one["goal"] else ""
            beside = {"real galaxies": one["real"], "negative control": one["control"]}
            values[f"{one['measure']}{goal}"] = {
                "generated": cell(one),
                **{name: cell(rows.get(one["measure"])) for name, rows in others.items()},
                **{name: None if number is None else rounded(number) for name, number in beside.items()},
            }
    samples = sorted({one["n"] for one in result["rows"] if one["n"] > 1})
    return {
        "title": "Generated galaxies against real ones, measure by measure.",
        "command": result["command"],
        "weights": result["model_hash"],
        "n": f"{samples[0]:,} to {samples[-1]:,} galaxies, by measure",
        "seeds": [result["seed"]],
        "interval": "95 % interval; of three runs for times and rates",
        "machine": result["machine"],
        "rows": "measure",
        "values": values,
    }


def rounded(number: float) -> float:
    """Three digits that count."""
    return float(f"{number:.3g}") if abs(number) > 1e-9 else 0.0


def evaluate(options: argparse.Namespace) -> Values:
    """Everything that was asked for."""
    torch.set_num_threads(options.threads or torch.get_num_threads())
    given = [one.partition("=") for one in options.images]
    for name, _, path in given:
        if not path:
            raise InputError(f"--images {name}: expected NAME=FOLDER_OR_NPZ")
    readers = ReaderSettings(readers=options.readers, images=options.reader_images)
    bench = Bench(
        options.data, options.work, n=options.n, per_kind=options.per_kind, seed=options.seed, readers=readers
    )
    table = Table(bench, steps=options.steps, school=options.school, workers=options.workers)
    result: Values = {
        "what": "generated galaxies against real ones",
        "command": " ".join(["python", "experiments/generator_table.py", *map(str, sys.argv[1:])]),
        "model": options.model,
        "model_hash": None,
        "machine": machine(),
        "seed": options.seed,
        "rows": [],
        "images": {},
    }

    options.out.parent.mkdir(parents=True, exist_ok=True)

    def write() -> None:
        write_atomically(options.out, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
        write_atomically(options.out.with_suffix(".md"), markdown(result))

    if options.gate:
        result["gate"] = generator_sheets.gate(table, options.model, options.out.with_suffix(""))
        result["rows"] = result["gate"]
        write()
        return result
    sources = [(name, from_arrays(bench, name, Path(path), options.work)) for name, _, path in given]
    if options.model != "none":
        requests = bench.requests()
        made = from_model(bench, options.model, options.work, requests)
        result |= {"model_hash": made.hash, "rows": table.rows(made)}
        write()
        if not options.no_speed:
            result["rows"] += speed(options.model, options.seed)
        if options.sheet:
            generator_sheets.sheets(bench, made, options.out.with_suffix(""))
    for name, other in sources:
        result["images"][name] = {"hash": other.hash, "rows": table.rows(other)}
        write()
        if options.sheet and other.get("sheet") is not None:
            generator_sheets.sheets(bench, other, options.out.with_suffix("") / name.replace(" ", "-"))
    write()
    return result


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Fill in the table by which generators are judged.")
    parser.add_argument("--model", default="mini", help="a shipped model, a model folder, or none")
    parser.add_argument("--data", type=Path, nargs="+", action="extend", required=True, help="dataset folders")
    parser.add_argument("--out", type=Path, required=True, help="JSON file; Markdown and pictures go beside it")
    parser.add_argument("--work", type=Path, required=True, help="folder for everything that is kept")
    parser.add_argument("--images", action="append", default=[], metavar="NAME=FOLDER_OR_NPZ", help="made elsewhere")
    parser.add_argument("--sheet", action="store_true", help="also draw the sheets that people look at")
    parser.add_argument("--gate", action="store_true", help="judge the autoencoder (and grain) of the model instead")
    parser.add_argument("--results", type=Path, help="file of results/ that takes the table as `table`")
    parser.add_argument("--no-speed", action="store_true", help="leave out the timings")
    parser.add_argument("-n", type=int, default=400, help="galaxies in a sample")
    parser.add_argument("--per-kind", type=int, default=400, help="galaxies of each of the eight kinds")
    parser.add_argument("--readers", type=int, default=2, help="classifiers of votes that read the galaxies back")
    parser.add_argument("--reader-images", type=int, default=24_000, help="images that each of them sees")
    parser.add_argument("--steps", type=int, default=240, help="of the network of the pixel test, in each fold")
    parser.add_argument("--school", type=int, default=10_000, help="images that a taught classifier sees (CAS)")
    parser.add_argument("--workers", type=int, default=1, help="processes that measure shapes")
    parser.add_argument("--threads", type=int, help="of torch")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        result = evaluate(options)
    except InputError as error:
        parser.error(str(error))
    if options.results is not None and not options.gate:
        held = json.loads(options.results.read_text(encoding="utf-8"))
        held["measurements"]["table"] = measurement(result)
        write_atomically(options.results, json.dumps(held, indent=2, ensure_ascii=False) + "\n")
    print(markdown(result))


if __name__ == "__main__":
    main()
