"""One small training loop that knows no task.

    fit(task, data, settings, run, budget)

It draws batches, asks the task for a loss, steps Muon and AdamW, keeps an average of the weights, writes checkpoints,
metrics and snapshots, and stops at the budget. Progress is counted in images seen. Every random draw of a batch follows
from (seed, images seen, process), so a run that was interrupted at any moment continues to the same weights, bit for
bit.
"""

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from pydantic import Field
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from galaxysd.errors import InputError
from galaxysd.runs import Run
from galaxysd.settings import Settings
from galaxysd.training import checkpoint
from galaxysd.training.ema import ExponentialMovingAverage
from galaxysd.training.processes import processes

Batch = dict[str, Tensor]


class Task(Protocol):
    """What is learned: a model and its loss."""

    model: nn.Module

    def prepare(self, batch: Batch, generator: torch.Generator, progress: float) -> Batch:
        """All that is random about a batch, drawn before it is shared among the processes.

        Every process draws the whole batch and keeps its rows, so one process and several see the same numbers.

        Args:
            batch: from `Data.batch`; tensors [B, ...].
            generator: the same in every process.
            progress: share of the training that is over, 0 to 1.
        """

    def loss(
        self, model: nn.Module, batch: Batch, generator: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        """The scalar loss of a process's rows, and what is worth logging, as scalars on the device."""

    def snapshot(self, weights: dict[str, Tensor], folder: Path, images_seen: int) -> dict[str, float]:
        """Look at the averaged weights: draw pictures into `folder`, return measurements."""


class Data(Protocol):
    """Where batches come from."""

    def batch(self, size: int, generator: torch.Generator) -> Batch:
        """A random batch; the same generator state gives the same batch."""


class FitSettings(Settings):
    """How to train; part of a run's identity."""

    seed: int = Field(default=0, ge=0, lt=2**63)
    batch: int = Field(default=64, ge=1, description="images per step, over all processes")
    learning_rate: float = Field(default=1e-3, gt=0, description="peak; see `make_optimizers`")
    weight_decay: float = Field(default=0.0, ge=0, description="of matrices")
    warmup: int = Field(default=20_000, ge=0, description="images until the peak learning rate")
    cooldown: float = Field(default=0.25, ge=0, le=1, description="last part of the images budget, linear to zero")
    clip: float = Field(default=1.0, gt=0, description="largest gradient norm")
    average: float = Field(default=0.05, gt=0, le=1, description="memory of the weight average / images seen")
    average_long: float = Field(
        default=0.1, gt=0, le=1, description="the same of a second average, see training/ema.py"
    )
    log_every: int = Field(default=6_400, ge=1, description="images between two lines of metrics")
    checkpoint_minutes: float = Field(default=4.0, gt=0, description="minutes between two checkpoints")
    snapshot_every: int = Field(default=64_000, ge=1, description="images between two snapshots")


class Budget(Settings):
    """How long to train; not part of a run's identity, so that a run can be continued for longer."""

    images: int = Field(ge=1, description="images seen at the end of training")
    minutes: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="end of training by the clock, over all stretches"
    )

    def progress(self, images_seen: int, seconds: float) -> float:
        """Share of the training that is over: by images, or by the clock where that is further."""
        by_images = images_seen / self.images
        return min(1.0, by_images if self.minutes is None else max(by_images, seconds / (60 * self.minutes)))


def make_optimizers(model: nn.Module, settings: FitSettings) -> list[torch.optim.Optimizer]:
    """Muon for matrices, AdamW for every other weight.

    Muon (Jordan et al. 2024; Liu et al. 2025, arXiv 2502.16982) orthogonalises the momentum of a matrix, so that an
    update turns all directions of it alike; its size is set to 0.2 x learning rate in root mean square, AdamW's usual
    one, so both share one learning rate.
    """
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    matrices = [weight for weight in learning if weight.ndim == 2]
    others = [weight for weight in learning if weight.ndim != 2]
    rate, decay = settings.learning_rate, settings.weight_decay
    found: list[torch.optim.Optimizer] = []
    if matrices:
        found.append(torch.optim.Muon(matrices, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"))
    if others:
        found.append(torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True))
    return found


def learning_rate(settings: FitSettings, images_seen: int, progress: float) -> float:
    """Linear warmup over the first images, constant, linear cooldown to zero over the last part of the training.

    Args:
        settings: peak, warmup and cooldown.
        images_seen: before this step.
        progress: share of the training that is over, 0 to 1.
    """
    rise = min(1.0, (images_seen + settings.batch) / max(settings.warmup, 1))
    rest = (1 - progress) / settings.cooldown if settings.cooldown else 1.0
    return settings.learning_rate * min(rise, rest, 1.0)


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C and SIGTERM into a question asked after each step, so that the checkpoint is whole."""
    asked: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    try:
        previous = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread: signals are somebody else's
        yield lambda: False
        return
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def fit(task: Task, data: Data, settings: FitSettings, run: Run, budget: Budget) -> dict[str, Any]:
    """Train until the budget is spent or someone interrupts.

    Args:
        task: the model and its loss.
        data: where batches come from.
        settings: how to train.
        run: the folder for checkpoints, metrics and snapshots; resumes from its latest checkpoint.
        budget: images seen at the end, or minutes.

    Returns:
        `images_seen`, `seconds` (over all stretches), `done` (the budget is spent).

    Raises:
        InputError: the loss is not finite, or a checkpoint does not fit.
    """
    accelerator = processes()
    world, rank, device = accelerator.num_processes, accelerator.process_index, accelerator.device
    if settings.batch % world:
        raise InputError(f"batch {settings.batch} cannot be divided by {world} processes; choose a multiple")
    optimizers = make_optimizers(task.model, settings)
    task.model.to(device)
    averages = [
        ExponentialMovingAverage(task.model, fraction=fraction)
        for fraction in (settings.average, settings.average_long)
    ]
    images_seen, seconds = 0, 0.0
    if (last := checkpoint.latest(run.folder)) is not None:
        state = checkpoint.load(last, task.model, averages, optimizers)
        images_seen, seconds = int(state["images_seen"]), float(state["seconds"])
        if accelerator.is_main_process:
            run.rewind("images_seen", images_seen)
    model = accelerator.prepare_model(task.model)
    steppers = [accelerator.prepare_optimizer(optimizer) for optimizer in optimizers]
    accelerator.wait_for_everyone()

    started = saved = time.monotonic()
    logged = _Means()

    def elapsed() -> float:
        return seconds + time.monotonic() - started

    def refuse_lost() -> None:
        """Nothing that a lost loss left may be kept; the processes agree, or one would wait for the others."""
        weights = torch.stack([weight.detach().isfinite().all() for weight in task.model.parameters()])
        lost = torch.tensor(float(not (logged.finite() and bool(weights.all()))), device=device)
        if float(accelerator.reduce(lost, "sum")) > 0:
            raise InputError(f"{run.folder}: the loss is not finite after {images_seen} images; lower learning_rate")

    def save() -> None:
        refuse_lost()
        if accelerator.is_main_process:
            checkpoint.save(run.folder, task.model, averages, optimizers, images_seen=images_seen, seconds=elapsed())
        accelerator.wait_for_everyone()

    with _interruptible() as interrupted, _bar(accelerator.is_main_process, images_seen) as show:
        while True:
            # The processes agree on how far training is, whether to stop and whether to save: those of the first one,
            # but for a signal, which any of them may have got.
            progress = budget.progress(images_seen, elapsed())
            due = time.monotonic() - saved > 60 * settings.checkpoint_minutes
            progress, stop, due = _agree(accelerator, progress, interrupted(), due)
            if progress >= 1 or stop:
                break
            if due:
                save()
                saved = time.monotonic()
            generator = torch.Generator().manual_seed(_stream(settings.seed, images_seen, 0))
            batch = task.prepare(data.batch(settings.batch, generator), generator, progress)
            batch = {name: values[rank::world].to(device) for name, values in batch.items()}
            own = torch.Generator().manual_seed(_stream(settings.seed, images_seen, rank + 1))
            loss, measured = task.loss(model, batch, own)
            rate = learning_rate(settings, images_seen, progress)
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), settings.clip)
            for stepper in steppers:
                for group in stepper.param_groups:
                    group["lr"] = rate
                stepper.step()
                stepper.zero_grad(set_to_none=True)
            before, images_seen = images_seen, images_seen + settings.batch
            for average in averages:
                average.update(task.model, images_seen=images_seen, batch=settings.batch)
            logged.add(loss.detach(), measured)
            show(images_seen, progress)
            if _passed(settings.log_every, before, images_seen):
                refuse_lost()
                means = logged.read(accelerator)
                if accelerator.is_main_process:
                    run.log(images_seen=images_seen, learning_rate=rate, seconds=round(elapsed()), **means)
            if _passed(settings.snapshot_every, before, images_seen):
                refuse_lost()
                if accelerator.is_main_process:
                    run.log(images_seen=images_seen, **task.snapshot(averages[0].weights, run.folder, images_seen))
                    checkpoint.save_averages(run.folder, averages, images_seen)
                accelerator.wait_for_everyone()
    save()
    return {"images_seen": images_seen, "seconds": round(elapsed(), 1), "done": progress >= 1}


class _Means:
    """Means of loss and measurements between two lines of the log, kept on the device so that no step waits for it."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, loss: Tensor, measured: Mapping[str, Tensor | float]) -> None:
        for name, value in {"loss": loss, **measured}.items():
            self.sums[name] = self.sums.get(name, torch.zeros((), device=loss.device)) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def finite(self) -> bool:
        """Whether every loss since the last line was finite."""
        return "loss" not in self.sums or bool(self.sums["loss"].isfinite())

    def read(self, accelerator: Accelerator) -> dict[str, float]:
        """The means over the processes; starts anew."""
        found = {}
        for name in sorted(self.sums):
            mean = accelerator.reduce(self.sums[name] / self.counts[name], "mean")
            found[name] = round(float(mean), 5)
        self.sums, self.counts = {}, {}
        return found


def _agree(accelerator: Accelerator, progress: float, stop: bool, due: bool) -> tuple[float, bool, bool]:
    """What all processes go by: progress and need to save of the first one, a wish to stop of any."""
    if accelerator.num_processes == 1:
        return progress, stop, due
    first = accelerator.is_main_process
    told = torch.tensor([progress * first, float(stop), float(due and first)], dtype=torch.float64)
    told = accelerator.reduce(told.to(accelerator.device), "sum").cpu()
    return float(told[0]), bool(told[1] > 0), bool(told[2] > 0)


@contextmanager
def _bar(shown: bool, images_seen: int) -> Iterator[Callable[[int, float], None]]:
    """A bar that moves with every step: images, images/s, and the time that is left."""
    columns = (TextColumn("training"), BarColumn(), TextColumn("{task.fields[note]}"), TimeRemainingColumn())
    console = Console(stderr=True, quiet=not shown)
    started, first = time.monotonic(), images_seen
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("training", total=1.0, note="")

        def show(seen: int, progress: float) -> None:
            speed = (seen - first) / max(time.monotonic() - started, 1e-6)
            bar.update(task, completed=progress, note=f"{seen:,} images, {speed:.0f}/s")

        yield show


def _passed(interval: int, before: int, now: int) -> bool:
    """Whether a multiple of `interval` lies in (before, now]."""
    return now // interval > before // interval


def _stream(seed: int, images_seen: int, rank: int) -> int:
    """One seed per (seed, images seen, process), well apart for neighbours (SplitMix64 finaliser)."""
    value = (seed * 0x9E3779B97F4A7C15 + images_seen * 0xBF58476D1CE4E5B9 + rank * 0x94D049BB133111EB) % 2**64
    value ^= value >> 31
    value = value * 0xD6E8FEB86659FD93 % 2**64
    return (value ^ (value >> 32)) % 2**63
