"""How fast the recipe trains: images per second beside a diffusers U-Net of equal size, and memory beside more data.

In: a recipe. Out: one table. Ours is timed inside the real `fit` (data, loss, backward, clip, AdamW, weight average),
the peer in a loop like that of diffusers' own training example; they and the peak of the machine are measured in turns.

    python benchmarks/training.py [--recipe mini] [--quick]
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from diffusers import DDPMScheduler, UNet2DModel
from measure import Row, at_least, at_most, galaxysd, matmul_peak, print_results, run_process, spread
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from galaxysd.catalog import DecisionTree, read_votes
from galaxysd.data.build import build_dataset
from galaxysd.data.framing import Framing
from galaxysd.data.sources import ImageSource
from galaxysd.data.toy_survey import make_toy_survey
from galaxysd.diffusion.autoencoder import Autoencoder, AutoencoderSettings
from galaxysd.diffusion.condition import Condition
from galaxysd.diffusion.denoiser import GalaxyDenoiser
from galaxysd.diffusion.flow_task import FlowTask
from galaxysd.diffusion.network import GalaxyUNet, NetworkSettings
from galaxysd.diffusion.recipe import Recipe
from galaxysd.errors import InputError
from galaxysd.nn import fast_precision
from galaxysd.runs import Run
from galaxysd.training.fit import Batch, Budget, fit

TARGET_SHARE = 0.6  # of the sgemm peak
TARGET_GROWTH = 1.1  # peak memory, many galaxies to few
SIZE = 64  # px
LATENT, CHANNELS = 16, 4  # side and channels of the latents
SURVEYS = ("sdss", "sdss-r90", "efigi")
NEVER = 10**9  # images between two snapshots
RENDERED = 250  # toy galaxies that are drawn; more are copies under other names

# Layouts of a UNet2DModel of latents as people build them: two layers a level, attention at the two lowest resolutions.
LAYOUTS = (
    (64, 128, 192),
    (96, 128, 192),
    (64, 128, 224),
    (96, 160, 192),
    (96, 160, 224),
    (128, 160, 192),
    (128, 160, 224),
    (128, 192, 192),
    (128, 192, 224),
)


class Synthetic:
    """Latents of noise in memory (protocol `Data` of training/fit.py, and enough of a `GalaxyPool` for the task).

    Its `batch` is called at the start of every step, so the times of these calls are the times of the steps.
    """

    def __init__(self, network: NetworkSettings, count: int = 512) -> None:
        generator = torch.Generator().manual_seed(0)
        self.pixels = torch.randint(256, (64, 3, SIZE, SIZE), generator=generator).to(torch.uint8)
        self.latents = torch.randn(count, network.channels, network.size, network.size, generator=generator)
        self.fractions = torch.rand(count, network.answers, generator=generator)
        self.known = torch.ones(count, network.questions, dtype=torch.bool)
        self.survey = torch.randint(network.surveys, (count,), generator=generator)
        self.calls: list[float] = []

    def __len__(self) -> int:
        return len(self.pixels)

    def images(self, indices: npt.NDArray[np.int64]) -> Tensor:
        """uint8 [B, 3, S, S]."""
        return self.pixels[indices]

    def condition(self, indices: npt.NDArray[np.int64]) -> Condition:
        """Conditions, nothing hidden."""
        return Condition(self.fractions[indices], self.known[indices], self.survey[indices])

    def batch(self, size: int, generator: torch.Generator) -> Batch:
        """Random galaxies."""
        self.calls.append(time.perf_counter())
        indices = torch.randint(len(self.latents), (size,), generator=generator)
        return {
            "latents": self.latents[indices],
            "fractions": self.fractions[indices],
            "known": self.known[indices],
            "survey": self.survey[indices],
        }


def network_settings(recipe: Recipe) -> NetworkSettings:
    """The network that `galaxysd train` builds for the recipe on Galaxy Zoo 2 and EFIGI."""
    tree = DecisionTree.load("gz2").union(DecisionTree.load("efigi"))
    answers, questions = len(tree.columns), len(tree.questions)
    shape = recipe.network.model_dump()
    return NetworkSettings(
        size=LATENT, channels=CHANNELS, answers=answers, questions=questions, surveys=len(SURVEYS), **shape
    )


def our_step_seconds(recipe: Recipe, steps: int) -> list[float]:
    """Seconds of each of `steps` training steps of the recipe inside `fit`, after two to warm up."""
    network = network_settings(recipe)
    tree = DecisionTree.load("gz2").union(DecisionTree.load("efigi"))
    torch.manual_seed(0)
    denoiser = GalaxyDenoiser(network, 1.0, tree, SURVEYS)
    autoencoder = Autoencoder(AutoencoderSettings(widths=(8, 8), last=8)).eval()  # for held-out galaxies alone
    task = FlowTask(denoiser, autoencoder, recipe.task.model_copy(update={"sheet": ()}), Synthetic(network))
    data = Synthetic(network)
    settings = recipe.fit.model_copy(update={"snapshot_every": NEVER, "checkpoint_minutes": NEVER})
    with tempfile.TemporaryDirectory() as folder:
        run = Run.open(Path(folder) / "run", settings)
        fit(task, data, settings, run, Budget(images=(steps + 3) * settings.batch))
    return np.diff(data.calls)[2:].tolist()


def peer(channels: tuple[int, ...]) -> UNet2DModel:
    """A diffusers U-Net for the same latents."""
    plain = len(channels) - 2
    return UNet2DModel(
        sample_size=LATENT,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        layers_per_block=2,
        block_out_channels=channels,
        down_block_types=["DownBlock2D"] * plain + ["AttnDownBlock2D"] * 2,
        up_block_types=["AttnUpBlock2D"] * 2 + ["UpBlock2D"] * plain,
    )


def forward_gflop(model: nn.Module, *inputs: Tensor) -> float:
    """GFLOP of one pass; on the meta device nothing is computed."""
    with FlopCounterMode(display=False) as counter:
        model(*inputs)
    return counter.get_total_flops() / 1e9


def our_cost(network: NetworkSettings) -> tuple[int, float]:
    """Parameters, and GFLOP of one pass for one image."""
    with torch.device("meta"):
        model, one = GalaxyUNet(network), torch.ones(1)
        fractions, known = torch.ones(1, network.answers), torch.ones(1, network.questions, dtype=torch.bool)
        survey = torch.zeros(1, dtype=torch.long)
        cost = forward_gflop(model, torch.ones(1, CHANNELS, LATENT, LATENT), one, fractions, known, survey)
    return sum(weight.numel() for weight in model.parameters()), cost


def equal_peer(parameters: int) -> tuple[tuple[int, ...], int, float]:
    """The layout that costs the peer least among those within 10 % of `parameters`, else the nearest in size.

    Returns:
        Channels, parameters, and GFLOP of one pass for one image.
    """
    found = []
    for channels in LAYOUTS:
        with torch.device("meta"):
            model = peer(channels)
            cost = forward_gflop(model, torch.ones(1, CHANNELS, LATENT, LATENT), torch.ones(1))
        found.append((channels, sum(weight.numel() for weight in model.parameters()), cost))
    near = [one for one in found if abs(one[1] / parameters - 1) <= 0.1]
    return min(near, key=lambda one: one[2]) if near else min(found, key=lambda one: abs(one[1] - parameters))


def peer_loop(channels: tuple[int, ...], batch: int, precision: torch.dtype) -> Callable[[int], list[float]]:
    """A function that trains the peer for some steps and returns the seconds of each.

    A step is that of diffusers' unconditional example: noise prediction, mean squared error, clip, AdamW. It has no
    weight average, which saves the peer a little.
    """
    torch.manual_seed(0)
    model, scheduler = peer(channels), DDPMScheduler(num_train_timesteps=1000)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    images = torch.randn(batch, CHANNELS, LATENT, LATENT)

    def step() -> None:
        noise = torch.randn_like(images)
        times = torch.randint(1000, (batch,))
        noisy = scheduler.add_noise(images, noise, times)
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            predicted = model(noisy, times, return_dict=False)[0]
        functional.mse_loss(predicted.float(), noise).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    def run(steps: int) -> list[float]:
        seconds = []
        for _ in range(steps):
            began = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - began)
        return seconds

    run(1)
    return run


def toy_dataset(folder: Path, galaxies: int, rendered: int) -> Path:
    """A dataset of toy galaxies, of which `rendered` are drawn and the others are copies under other names."""
    survey = make_toy_survey(folder / "survey", rendered, seed=0, size=SIZE)
    votes = pl.read_csv(survey / "votes.csv", schema_overrides={"dr7objid": pl.String})
    copies = []
    for copy in range(-(-galaxies // rendered)):
        # another place on the sky, or all copies of a galaxy would fall into one split
        names = pl.format("{}-{}", pl.lit(copy), pl.col("file"))
        copies.append(
            votes.with_columns(dr7objid=pl.format("{}{}", "dr7objid", pl.lit(copy)), ra=pl.col("ra") + copy, file=names)
        )
        for file in votes["file"]:
            shutil.copyfile(survey / "images" / file, survey / "images" / f"{copy}-{file}")
    for file in votes["file"]:
        (survey / "images" / file).unlink()
    pl.concat(copies).head(galaxies).write_csv(survey / "many.csv")
    catalog = read_votes(survey / "many.csv", tree=DecisionTree.load("gz2"), survey="sdss")
    with ImageSource(survey / "images") as images:
        build_dataset(catalog, images, out=folder / "data", framing=Framing(size=SIZE), survey="sdss")
    return folder / "data"


def peak_memory(recipe: str, batch: int, galaxies: int, rendered: int, steps: int) -> float:
    """Peak memory of `galaxysd train`, MB."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = toy_dataset(folder, galaxies, rendered)
        arguments = ("--recipe", recipe, "--data", str(data), "--out", str(folder / "run"))
        return run_process(galaxysd("train", *arguments, "--images", str(steps * batch))).peak_mb


def measure(name: str, *, rounds: int, steps: int, few: int, many: int, rendered: int, memory_steps: int) -> list[Row]:
    """All rows of the table."""
    recipe = Recipe.load(name)
    batch, precision = recipe.fit.batch, fast_precision(torch.device("cpu"))
    parameters, cost = our_cost(network_settings(recipe))
    channels, peer_parameters, peer_cost = equal_peer(parameters)
    plain = peer_loop(channels, batch, torch.float32)
    mixed = peer_loop(channels, batch, precision) if precision != torch.float32 else None
    peaks: list[float] = []
    fast_peaks: list[float] = []
    ours: list[float] = []
    theirs: list[float] = []
    theirs_mixed: list[float] = []
    for _ in range(rounds):
        peaks.append(matmul_peak(torch.float32))
        if mixed is not None:
            fast_peaks.append(matmul_peak(precision))
        ours += our_step_seconds(recipe, steps)
        theirs += plain(max(1, steps // 4))
        if mixed is not None:
            theirs_mixed += mixed(max(1, steps // 4))
    peak = statistics.median(peaks)
    rate, rates = batch / statistics.median(ours), [batch / seconds for seconds in ours]
    peer_rate = batch / statistics.median(theirs)
    kind = str(precision).removeprefix("torch.")
    rows = [
        Row("sgemm peak, 2048 x 2048", f"{spread(peaks, 0)} GFLOP/s"),
        *([Row(f"{kind} matmul peak", f"{spread(fast_peaks, 0)} GFLOP/s")] if fast_peaks else []),
        Row(f"ours: {parameters / 1e6:.1f} M parameters, batch {batch}, {kind}", f"{spread(rates)} img/s"),
        Row("model work per image trained (3 x forward)", f"{3 * cost:.2f} GFLOP"),
        at_least("share of the sgemm peak", 100 * rate * 3 * cost / peak, 100 * TARGET_SHARE, "%", 0),
    ]
    if fast_peaks:
        share = rate * 3 * cost / statistics.median(fast_peaks)
        rows.append(Row(f"share of the {kind} peak", f"{share:.0%}"))
    size = f"{peer_parameters / 1e6:.1f} M parameters"
    rows += [
        Row(
            f"diffusers UNet2DModel {channels}, {size}",
            f"{peer_parameters / parameters - 1:+.0%}",
            "within 10 %",
            abs(peer_parameters / parameters - 1) <= 0.1,
        ),
        Row("its work per image trained", f"{3 * peer_cost:.2f} GFLOP"),
        Row("diffusers, float32", f"{peer_rate:,.1f} img/s"),
        at_least("ours / diffusers float32, images/s", rate / peer_rate, 1, "x", 2),
    ]
    if theirs_mixed:
        mixed_rate = batch / statistics.median(theirs_mixed)
        rows += [
            Row(f"diffusers, {kind} autocast", f"{mixed_rate:,.1f} img/s"),
            at_least(f"ours / diffusers {kind}, images/s", rate / mixed_rate, 1, "x", 2),
        ]
    small, large = (peak_memory(name, batch, count, rendered, memory_steps) for count in (few, many))
    rows += [
        Row(f"peak memory of `train`, {few:,} galaxies", f"{small:,.0f} MB"),
        Row(f"peak memory of `train`, {many:,} galaxies", f"{large:,.0f} MB"),
        at_most("growth of the peak", large / small, TARGET_GROWTH, "x", 2),
    ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how fast a recipe trains, beside diffusers, and its memory.")
    parser.add_argument("--recipe", default="mini", help="a built-in recipe or a YAML file")
    parser.add_argument("--rounds", type=int, default=4, help="turns between ours and the peer")
    parser.add_argument("--steps", type=int, default=12, help="of ours per turn; the peer takes a quarter of it")
    parser.add_argument("--quick", action="store_true", help="few steps and galaxies: a trial of the script itself")
    options = parser.parse_args()
    if options.quick:
        sizes = {"rounds": 1, "steps": 2, "few": 60, "many": 120, "rendered": 60, "memory_steps": 2}
    else:
        sizes = {"rounds": options.rounds, "steps": options.steps, "few": 500, "many": 5000, "memory_steps": 10}
        sizes["rendered"] = RENDERED
    caption = f"medians over {sizes['rounds']} turns of {sizes['steps']} steps, seed 0"
    try:
        rows = measure(options.recipe, **sizes)
    except InputError as error:
        parser.error(str(error))
    print_results(f"training, recipe {options.recipe}", rows, caption)


if __name__ == "__main__":
    main()
