"""The loop: it learns, stops at its budget or by the clock, resumes exactly, and keeps nothing that is lost."""

import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import rich.progress
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from galaxysd.errors import InputError
from galaxysd.runs import Run
from galaxysd.training import checkpoint
from galaxysd.training import fit as module
from galaxysd.training.fit import Budget, FitSettings, fit, learning_rate

SETTINGS = FitSettings(batch=8, warmup=16, learning_rate=0.01, log_every=16, snapshot_every=64, checkpoint_minutes=60)


class Line:
    """Batches of points near the line y = 3 x - 1; counts the batches it gave."""

    def __init__(self) -> None:
        self.batches = 0

    def batch(self, size: int, generator: torch.Generator) -> dict[str, Tensor]:
        self.batches += 1
        x = torch.randn(size, 1, generator=generator)
        return {"x": x, "y": 3 * x - 1 + 0.01 * torch.randn(size, 1, generator=generator)}


class Regression:
    """Least squares with noise on the points, so that the generators' states matter."""

    def __init__(
        self, stop_after: int | None = None, fail_after: int | None = None, break_after: int | None = None
    ) -> None:
        torch.manual_seed(0)
        self.model: nn.Module = nn.Sequential(nn.Linear(1, 16), nn.SiLU(), nn.Linear(16, 1))
        self.calls, self.stop_after, self.fail_after, self.break_after = 0, stop_after, fail_after, break_after
        self.progress: list[float] = []

    def prepare(self, batch: dict[str, Tensor], generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        self.progress.append(progress)
        return {**batch, "x": batch["x"] + 0.01 * torch.randn(batch["x"].shape, generator=generator)}

    def loss(self, model: nn.Module, batch: dict[str, Tensor], generator: torch.Generator) -> tuple[Tensor, dict]:
        self.calls += 1
        if self.calls == self.stop_after:
            os.kill(os.getpid(), signal.SIGINT)
        loss = (model(batch["x"] + 0.01 * torch.randn(batch["x"].shape, generator=generator)) - batch["y"]).square()
        value = loss.mean() * (float("nan") if self.calls == self.fail_after else 1.0)
        if self.calls == self.break_after:  # a finite loss whose gradient is not
            value = value + 0 * torch.sqrt(0 * value)
        return value, {"largest": float(loss.detach().max())}

    def snapshot(self, weights: dict[str, Tensor], folder: Path, images_seen: int) -> dict[str, float]:
        return {"held_out": float(weights["0.weight"].norm())}


def run_in(folder: Path) -> Run:
    return Run.open(folder, SETTINGS)


def weights_in(folder: Path) -> dict[str, Tensor]:
    last = checkpoint.latest(folder)
    assert last is not None
    return {
        f"{part}:{name}": value
        for part in ("model", "average", "average-long", "optimizer")
        for name, value in load_file(last / f"{part}.safetensors").items()
    }


def test_learns_and_stops_at_the_budget(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run")
    result = fit(Regression(), Line(), SETTINGS, run, Budget(images=1600))
    assert result["done"] and result["images_seen"] == 1600
    losses = [line["loss"] for line in run.metrics() if "loss" in line]
    assert len(losses) == 100
    assert losses[-1] < 0.2 * losses[0]
    assert any("held_out" in line for line in run.metrics())


def test_a_task_is_told_how_far_training_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Input should be less than 9223372036854775808"):
        FitSettings.parse({"seed": 2**63}, "fit")
    task = Regression()
    fit(task, Line(), SETTINGS, run_in(tmp_path / "run"), Budget(images=80))
    assert task.progress == pytest.approx([step / 10 for step in range(10)])


@pytest.mark.parametrize("stop_after", [1, 7, 12])
def test_interrupted_anywhere_gives_the_same_weights(tmp_path: Path, stop_after: int) -> None:
    budget = Budget(images=160)
    fit(Regression(), Line(), SETTINGS, run_in(tmp_path / "whole"), budget)
    first = fit(Regression(stop_after=stop_after), Line(), SETTINGS, run_in(tmp_path / "cut"), budget)
    assert first["images_seen"] == 8 * stop_after and not first["done"]
    second = fit(Regression(), Line(), SETTINGS, run_in(tmp_path / "cut"), budget)
    assert second["done"]
    whole, cut = weights_in(tmp_path / "whole"), weights_in(tmp_path / "cut")
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_killed_before_a_checkpoint_repeats_the_lost_part(tmp_path: Path) -> None:
    budget = Budget(images=160)
    fit(Regression(), Line(), SETTINGS, run_in(tmp_path / "whole"), budget)
    cut = run_in(tmp_path / "cut")
    fit(Regression(stop_after=5), Line(), SETTINGS, cut, budget)
    saved = weights_in(tmp_path / "cut")
    with pytest.raises(InputError, match="not finite after 80 images"):  # dies without a checkpoint of its own
        fit(Regression(fail_after=5), Line(), SETTINGS, cut, budget)
    assert all(torch.equal(value, weights_in(tmp_path / "cut")[name]) for name, value in saved.items())
    fit(Regression(), Line(), SETTINGS, cut, budget)
    whole, resumed = weights_in(tmp_path / "whole"), weights_in(tmp_path / "cut")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    seen = [line["images_seen"] for line in cut.metrics() if "loss" in line]
    assert seen == sorted(set(seen))  # the repeated part is not counted twice


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that goes on by a tenth of a second whenever someone looks at it."""
    fake = SimpleNamespace(now=0.0, step=0.1)

    def monotonic() -> float:
        fake.now += fake.step
        return float(fake.now)

    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=monotonic))
    return fake


def test_by_the_clock_the_learning_rate_falls_to_nothing(tmp_path: Path, clock: SimpleNamespace) -> None:
    settings = SETTINGS.model_copy(update={"cooldown": 0.5, "log_every": 8})
    run = Run.open(tmp_path / "run", settings)
    result = fit(Regression(), Line(), settings, run, Budget(images=10**9, minutes=1))
    assert result["done"] and result["seconds"] == pytest.approx(60, abs=2)
    rates = [line["learning_rate"] for line in run.metrics() if "learning_rate" in line]
    assert len(rates) == result["images_seen"] / 8 > 50
    assert rates[len(rates) // 3] == settings.learning_rate and rates[-1] < 0.03 * settings.learning_rate
    assert rates[2:] == sorted(rates[2:], reverse=True)


def test_by_the_clock_an_unfinished_run_goes_on_where_it_was(tmp_path: Path, clock: SimpleNamespace) -> None:
    budget = Budget(images=10**9, minutes=1)
    first, second = Regression(stop_after=30), Regression()
    part = fit(first, Line(), SETTINGS, run_in(tmp_path / "run"), budget)
    assert not part["done"] and part["images_seen"] == 240
    clock.now += 10_000  # nobody counts the time between two stretches
    whole = fit(second, Line(), SETTINGS, run_in(tmp_path / "run"), budget)
    assert whole["done"] and whole["seconds"] == pytest.approx(60, abs=2)
    assert second.progress[0] == pytest.approx(first.progress[-1], abs=0.05)
    assert [*first.progress, *second.progress] == sorted([*first.progress, *second.progress])


def test_images_end_a_training_before_its_time(tmp_path: Path, clock: SimpleNamespace) -> None:
    result = fit(Regression(), Line(), SETTINGS, run_in(tmp_path / "run"), Budget(images=80, minutes=100))
    assert result["done"] and result["images_seen"] == 80


def test_checkpoints_come_by_the_clock(tmp_path: Path, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    saved, save = [], checkpoint.save

    def counted(*arguments: Any, **named: Any) -> Path:
        saved.append(named["images_seen"])
        return save(*arguments, **named)

    monkeypatch.setattr(checkpoint, "save", counted)
    settings = SETTINGS.model_copy(update={"checkpoint_minutes": 0.2})
    fit(Regression(), Line(), settings, Run.open(tmp_path / "run", settings), Budget(images=10**9, minutes=1))
    assert 4 <= len(saved) <= 6 and saved == sorted(saved)
    assert len(list((tmp_path / "run").glob("checkpoint-*"))) == 1


@pytest.mark.parametrize("kind", ["fail_after", "break_after"])
@pytest.mark.parametrize("due", ["log", "checkpoint", "snapshot", "end"])
def test_what_a_lost_loss_leaves_is_never_stored(tmp_path: Path, clock: SimpleNamespace, kind: str, due: str) -> None:
    """A loss that is not finite, or a gradient of a finite one: whatever is written next, nothing of it is kept."""
    often, never = 8, 10**9
    settings = SETTINGS.model_copy(
        update={
            "log_every": often if due == "log" else never,
            "snapshot_every": often if due == "snapshot" else never,
            "checkpoint_minutes": 1e-6 if due == "checkpoint" else 60,
        }
    )
    run = Run.open(tmp_path / "run", settings)
    with pytest.raises(InputError, match=r"the loss is not finite after \d+ images; lower learning_rate"):
        fit(Regression(**{kind: 3}), Line(), settings, run, Budget(images=24))
    for path in run.folder.rglob("*.safetensors"):
        assert all(bool(value.isfinite().all()) for value in load_file(path).values())
    assert fit(Regression(), Line(), settings, run, Budget(images=24))["done"]


def test_the_bar_moves_with_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[float, str]] = []
    monkeypatch.setattr(
        rich.progress.Progress, "update", lambda self, task, completed, note: seen.append((completed, note))
    )
    fit(Regression(), Line(), SETTINGS, run_in(tmp_path / "run"), Budget(images=80))
    assert len(seen) == 10
    assert [done for done, _ in seen] == pytest.approx([step / 10 for step in range(10)])
    assert seen[-1][1].startswith("80 images, ") and seen[-1][1].endswith("/s")


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **keywords: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(InputError, match="No space left"):
        fit(Regression(), Line(), SETTINGS, run_in(tmp_path / "run"), Budget(images=16))
    assert not list((tmp_path / "run").glob("checkpoint-*"))


def test_learning_rate_rises_stays_and_falls() -> None:
    settings = FitSettings(batch=10, warmup=100, cooldown=0.5, learning_rate=1.0)
    rates = [learning_rate(settings, seen, seen / 1000) for seen in range(0, 1000, 10)]
    assert rates[0] == pytest.approx(0.1) and rates[9:50] == [1.0] * 41
    assert rates[75] == pytest.approx(0.5) and rates[-1] == pytest.approx(0.02)


def test_run_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    run_in(tmp_path / "run")
    with pytest.raises(InputError, match="other settings \\(batch\\)"):
        Run.open(tmp_path / "run", SETTINGS.model_copy(update={"batch": 16}))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    with pytest.raises(InputError, match="not a run"):
        run_in(tmp_path / "mine")


def test_metrics_survive_a_torn_line(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run")
    run.log(images_seen=1, loss=2.0)
    with run.metrics_file.open("a") as file:
        file.write(json.dumps({"images_seen": 2})[:-3])
    assert [line["images_seen"] for line in run.metrics()] == [1]
