"""One small training loop that knows no task.

    fit(task, data, settings, run, budget)

It draws batches, asks the task for a loss, steps Muon and AdamW, keeps an average of the weights, writes checkpoints,
metrics and snapshots, and stops at the budget. Progress is counted in images seen. Every random draw of a batch follows
from (seed, images seen, process), so a run that was interrupted at any moment continues to the same weights, bit for
bit.
"""

import math
import signal
import time
from collections.abc import Callable, Iterator
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

Batch = dict[str, Tensor]


class Task(Protocol):
    """What is learned: a model and its loss."""

    model: nn.Module

    def loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """The scalar loss of a batch, and what is worth logging."""

    def snapshot(self, weights: dict[str, Tensor], folder: Path, images_seen: int) -> dict[str, float]:
        """Look at the averaged weights: draw pictures into `folder`, return measurements."""


class Data(Protocol):
    """Where batches come from."""

    def batch(self, size: int, generator: torch.Generator) -> Batch:
        """A random batch; the same generator state gives the same batch."""


class FitSettings(Settings):
    """How to train; part of a run's identity."""

    seed: int = Field(default=0, ge=0)
    batch: int = Field(default=64, ge=1, description="images per step, over all processes")
    learning_rate: float = Field(default=1e-3, gt=0, description="peak; see `make_optimizers`")
    weight_decay: float = Field(default=0.0, ge=0, description="of matrices")
    warmup: int = Field(default=20_000, ge=0, description="images until the peak learning rate")
    cooldown: float = Field(default=0.25, ge=0, le=1, description="last part of the images budget, linear to zero")
    clip: float = Field(default=1.0, gt=0, description="largest gradient norm")
    average: float = Field(default=0.05, gt=0, le=1, description="memory of the weight average / images seen")
    log_every: int = Field(default=6_400, ge=1, description="images between two lines of metrics")
    checkpoint_minutes: float = Field(default=4.0, gt=0, description="minutes between two checkpoints")
    snapshot_every: int = Field(default=64_000, ge=1, description="images between two snapshots")


class Budget(Settings):
    """How long to train; not part of a run's identity, so that a run can be continued for longer."""

    images: int = Field(ge=1, description="images seen at the end of training; the cooldown is laid out towards it")
    minutes: float | None = Field(default=None, gt=0, description="stop this stretch after so many minutes")


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


def learning_rate(settings: FitSettings, images_seen: int, total: int) -> float:
    """Linear warmup, constant, linear cooldown to zero over the last part of the budget."""
    rise = min(1.0, (images_seen + settings.batch) / max(settings.warmup, 1))
    rest = max(0.0, (total - images_seen) / (settings.cooldown * total)) if settings.cooldown else 1.0
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
        budget: images seen at the end, and minutes of this stretch.

    Returns:
        `images_seen`, `seconds` (over all stretches), `done` (the images budget is reached).

    Raises:
        InputError: the loss is not finite, or a checkpoint does not fit.
    """
    accelerator = Accelerator()
    world, rank = accelerator.num_processes, accelerator.process_index
    if settings.batch % world:
        raise InputError(f"batch {settings.batch} cannot be divided by {world} processes; choose a multiple")
    optimizers = make_optimizers(task.model, settings)
    task.model.to(accelerator.device)
    average = ExponentialMovingAverage(task.model, fraction=settings.average)
    images_seen, seconds = 0, 0.0
    if (last := checkpoint.latest(run.folder)) is not None:
        state = checkpoint.load(last, task.model, average, optimizers)
        images_seen, seconds = int(state["images_seen"]), float(state["seconds"])
        run.rewind("images_seen", images_seen)
    model = accelerator.prepare_model(task.model)
    steppers = [accelerator.prepare_optimizer(optimizer) for optimizer in optimizers]

    started = saved = time.monotonic()
    losses: list[float] = []
    parts: dict[str, list[float]] = {}

    def save() -> None:
        if accelerator.is_main_process:
            elapsed = seconds + time.monotonic() - started
            checkpoint.save(run.folder, task.model, average, optimizers, images_seen=images_seen, seconds=elapsed)

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeRemainingColumn())
    console = Console(stderr=True, quiet=not accelerator.is_main_process)
    with _interruptible() as interrupted, Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        shown = bar.add_task("training", total=budget.images, completed=images_seen, note="")
        while images_seen < budget.images and not interrupted():
            spent = time.monotonic() - started
            if budget.minutes is not None and spent > 60 * budget.minutes:
                break
            generator = torch.Generator().manual_seed(_stream(settings.seed, images_seen, rank))
            batch = data.batch(settings.batch // world, generator)
            loss, measured = task.loss(model, batch, generator)
            if not math.isfinite(float(loss.detach())):
                raise InputError(
                    f"{run.folder}: the loss is not finite after {images_seen} images; lower learning_rate"
                )
            rate = learning_rate(settings, images_seen, budget.images)
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), settings.clip)
            for stepper in steppers:
                for group in stepper.param_groups:
                    group["lr"] = rate
                stepper.step()
                stepper.zero_grad(set_to_none=True)
            before, images_seen = images_seen, images_seen + settings.batch
            average.update(task.model, images_seen=images_seen, batch=settings.batch)
            losses.append(float(loss.detach()))
            for name, value in measured.items():
                parts.setdefault(name, []).append(value)

            if _passed(settings.log_every, before, images_seen) and accelerator.is_main_process:
                means = {name: round(sum(values) / len(values), 5) for name, values in parts.items()}
                mean = sum(losses) / len(losses)
                elapsed = seconds + time.monotonic() - started
                run.log(
                    images_seen=images_seen, loss=round(mean, 5), learning_rate=rate, seconds=round(elapsed), **means
                )
                bar.update(shown, completed=images_seen, note=f"{images_seen:,} images, loss {mean:.4f}")
                losses, parts = [], {}
            if _passed(settings.snapshot_every, before, images_seen) and accelerator.is_main_process:
                run.log(images_seen=images_seen, **task.snapshot(average.weights, run.folder, images_seen))
            if time.monotonic() - saved > 60 * settings.checkpoint_minutes:
                save()
                saved = time.monotonic()
    save()
    seconds += time.monotonic() - started
    return {"images_seen": images_seen, "seconds": round(seconds, 1), "done": images_seen >= budget.images}


def _passed(interval: int, before: int, now: int) -> bool:
    """Whether a multiple of `interval` lies in (before, now]."""
    return now // interval > before // interval


def _stream(seed: int, images_seen: int, rank: int) -> int:
    """One seed per (seed, images seen, process), well apart for neighbours (SplitMix64 finaliser)."""
    value = (seed * 0x9E3779B97F4A7C15 + images_seen * 0xBF58476D1CE4E5B9 + rank * 0x94D049BB133111EB) % 2**64
    value ^= value >> 31
    value = value * 0xD6E8FEB86659FD93 % 2**64
    return (value ^ (value >> 32)) % 2**63
