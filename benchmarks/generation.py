"""How fast the model dreams: galaxies per second, the first galaxy, and memory that does not grow with their number.

In: a model (shipped or a folder). Out: one table; peaks of the machine and speeds are measured in turns in one run, so
that their ratios hold on a machine whose clock wanders.

    python benchmarks/generation.py [--model mini] [--quick]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from measure import Row, at_least, at_most, galaxysd, matmul_peak, print_results, run_process, spread
from torch.utils.flop_counter import FlopCounterMode

from galaxysd.diffusion.pipeline import BATCH, GalaxyPipeline
from galaxysd.errors import InputError
from galaxysd.nn import fast_precision

TARGET_RATE = 20.0  # galaxies/s
TARGET_FIRST = 5.0  # s
TARGET_GROWTH = 1.1  # peak memory, many galaxies to few
MEMORY_STEPS = 2  # the memory of a galaxy does not depend on how long it takes

PROMPTS = (
    "sdss, completely round galaxy",
    "sdss, edge-on galaxy",
    "sdss, barred spiral galaxy",
    "sdss, tightly wound spiral arms, 2 spiral arms",
    "sdss, merger",
    "sdss, ring galaxy",
    "sdss, something odd, dust lane",
    "",
)
FIRST = """
import sys, time
from galaxysd import GalaxyPipeline
GalaxyPipeline.from_pretrained(sys.argv[1])("sdss, edge-on galaxy", n=1)
print(time.time())
"""


def work_per_galaxy(pipeline: GalaxyPipeline) -> tuple[float, int]:
    """GFLOP per galaxy, and passes of the U-Net per galaxy, at the model's own sampling settings.

    Guidance makes a second pass while it is on, and a refiner works at low noise, so the work is counted, not assumed.
    """
    passes: list[None] = []
    hook = pipeline.denoiser.unet.register_forward_hook(lambda module, inputs, output: passes.append(None))
    with FlopCounterMode(display=False) as counter:
        pipeline(list(PROMPTS), n=BATCH // len(PROMPTS))
    hook.remove()
    return counter.get_total_flops() / BATCH / 1e9, len(passes)


def first_galaxy(model: str) -> float:
    """Seconds from the start of a process to its first galaxy."""
    began = time.time()
    child = subprocess.run([sys.executable, "-c", FIRST, model], stdout=subprocess.PIPE, text=True, check=True)
    return float(child.stdout) - began


def peak_memory(model: str, galaxies: int) -> float:
    """Peak memory of `galaxysd generate`, MB."""
    with tempfile.TemporaryDirectory() as folder:
        out, steps = str(Path(folder) / "out"), str(MEMORY_STEPS)
        arguments = ("sdss, edge-on galaxy", "-n", str(galaxies), "--steps", steps, "--model", model, "--out", out)
        return run_process(galaxysd("generate", *arguments)).peak_mb


def measure(model: str, *, galaxies: int, repeats: int, few: int, many: int) -> list[Row]:
    """All rows of the table."""
    pipeline = GalaxyPipeline.from_pretrained(model)
    precision = fast_precision(torch.device("cpu"))
    cost, passes = work_per_galaxy(pipeline)  # also warms up
    sgemm, fast, rate = [], [], []
    for repeat in range(repeats):
        sgemm.append(matmul_peak(torch.float32))
        if precision != torch.float32:
            fast.append(matmul_peak(precision))
        began = time.perf_counter()
        pipeline(list(PROMPTS), n=galaxies // len(PROMPTS), seed=1000 * repeat)
        rate.append(galaxies / (time.perf_counter() - began))
    work = [value * cost for value in rate]  # GFLOP/s
    sampling = pipeline.sampling()
    settings = f"{sampling.sampler}, {sampling.steps} steps, guidance {sampling.guidance.scale:g}"
    rows = [Row("sgemm peak, 2048 x 2048", f"{spread(sgemm, 0)} GFLOP/s")]
    if fast:
        rows.append(Row(f"{str(precision).removeprefix('torch.')} matmul peak", f"{spread(fast, 0)} GFLOP/s"))
    rows += [
        Row("model work per galaxy", f"{cost:.1f} GFLOP, {passes} passes of the U-Net"),
        at_least(f"galaxies/s, {galaxies} asked for, {settings}", statistics.median(rate), TARGET_RATE, "/s"),
        Row("the same, median and range", f"{spread(rate)} /s"),
        Row("share of the sgemm peak", f"{statistics.median(map(_ratio, work, sgemm)):.0%}"),
    ]
    if fast:
        rows.append(Row("share of the bfloat16 peak", f"{statistics.median(map(_ratio, work, fast)):.0%}"))
    rows.append(
        at_most(
            "process start to first galaxy, median",
            statistics.median(first_galaxy(model) for _ in range(repeats)),
            TARGET_FIRST,
            "s",
        )
    )
    small, large = peak_memory(model, few), peak_memory(model, many)
    rows += [
        Row(f"peak memory of `generate`, {few:,} galaxies", f"{small:,.0f} MB"),
        Row(f"peak memory of `generate`, {many:,} galaxies", f"{large:,.0f} MB"),
        at_most("growth of the peak", large / small, TARGET_GROWTH, "x", 2),
    ]
    return rows


def _ratio(work: float, peak: float) -> float:
    return work / peak


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how fast a model dreams, and in how much memory.")
    parser.add_argument("--model", default="mini", help="a shipped model or a model folder")
    parser.add_argument("--repeats", type=int, default=3, help="of every timing; the median counts")
    parser.add_argument("--quick", action="store_true", help="few galaxies, once: a trial of the script itself")
    options = parser.parse_args()
    size = {"galaxies": 16, "few": 16, "many": 48} if options.quick else {"galaxies": 64, "few": 64, "many": 1024}
    repeats = 1 if options.quick else options.repeats
    try:
        rows = measure(options.model, repeats=repeats, **size)
    except InputError as error:
        parser.error(str(error))
    print_results(f"generation, model {options.model}", rows, f"median of {repeats}, prompts mixed, seed 0")


if __name__ == "__main__":
    main()
