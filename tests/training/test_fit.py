"""The loop: it learns, stops at its budget, and resumes exactly."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from galaxysd.errors import InputError
from galaxysd.runs import Run
from galaxysd.training import checkpoint
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
    """Least squares with noise on the loss, so that the generator's state matters."""

    def __init__(self, stop_after: int | None = None, fail_after: int | None = None) -> None:
        torch.manual_seed(0)
        self.model: nn.Module = nn.Sequential(nn.Linear(1, 16), nn.SiLU(), nn.Linear(16, 1))
        self.calls, self.stop_after, self.fail_after = 0, stop_after, fail_after

    def loss(self, model: nn.Module, batch: dict[str, Tensor], generator: torch.Generator) -> tuple[Tensor, dict]:
        self.calls += 1
        if self.calls == self.stop_after:
            os.kill(os.getpid(), signal.SIGINT)
        loss = (model(batch["x"] + 0.01 * torch.randn(batch["x"].shape, generator=generator)) - batch["y"]).square()
        return loss.mean() * (float("nan") if self.calls == self.fail_after else 1.0), {
            "largest": float(loss.detach().max())
        }

    def snapshot(self, weights: dict[str, Tensor], folder: Path, images_seen: int) -> dict[str, float]:
        return {"held_out": float(weights["0.weight"].norm())}


def run_in(folder: Path) -> Run:
    return Run.open(folder, SETTINGS)


def weights_in(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    last = checkpoint.latest(folder)
    assert last is not None
    return {
        f"{part}:{name}": value
        for part in ("model", "average", "optimizer")
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
    with pytest.raises(InputError, match="not finite after 72 images"):  # dies without a checkpoint of its own
        fit(Regression(fail_after=5), Line(), SETTINGS, cut, budget)
    assert all(torch.equal(value, weights_in(tmp_path / "cut")[name]) for name, value in saved.items())
    fit(Regression(), Line(), SETTINGS, cut, budget)
    whole, resumed = weights_in(tmp_path / "whole"), weights_in(tmp_path / "cut")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    seen = [line["images_seen"] for line in cut.metrics() if "loss" in line]
    assert seen == sorted(set(seen))  # the repeated part is not counted twice


def test_minutes_end_a_stretch(tmp_path: Path) -> None:
    data = Line()
    result = fit(Regression(), data, SETTINGS, run_in(tmp_path / "run"), Budget(images=10**9, minutes=0.01))
    assert not result["done"] and data.batches > 1
    assert result["images_seen"] == 8 * data.batches


def test_a_half_written_checkpoint_is_ignored(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run")
    fit(Regression(), Line(), SETTINGS, run, Budget(images=80))
    (run.folder / "checkpoint-000000000999.tmp").mkdir()
    last = checkpoint.latest(run.folder)
    assert last is not None and last.name == "checkpoint-000000000080"


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    run = run_in(tmp_path / "run")
    fit(Regression(), Line(), SETTINGS, run, Budget(images=80))
    last = checkpoint.latest(run.folder)
    assert last is not None
    (last / "average.safetensors").write_bytes(b"broken")
    with pytest.raises(InputError, match="checkpoint cannot be read"):
        fit(Regression(), Line(), SETTINGS, run, Budget(images=160))


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **keywords: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(InputError, match="No space left"):
        fit(Regression(), Line(), SETTINGS, run_in(tmp_path / "run"), Budget(images=16))
    assert not list((tmp_path / "run").glob("checkpoint-*"))


def test_learning_rate_rises_stays_and_falls() -> None:
    settings = FitSettings(batch=10, warmup=100, cooldown=0.5, learning_rate=1.0)
    rates = [learning_rate(settings, seen, 1000) for seen in range(0, 1000, 10)]
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
