"""Checkpoints: whole or not there, and refused by name when something is wrong with them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from galaxysd.errors import InputError
from galaxysd.training import checkpoint
from galaxysd.training.ema import ExponentialMovingAverage
from galaxysd.training.fit import FitSettings, make_optimizers


class Training:
    """A model after one step, with its averages and optimizers."""

    def __init__(self, *, width: int = 4, steps: int = 1) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(2, width), nn.SiLU(), nn.Linear(width, 1))
        self.averages = [ExponentialMovingAverage(self.model, fraction=fraction) for fraction in (0.05, 0.1)]
        self.optimizers = make_optimizers(self.model, FitSettings())
        for step in range(steps):
            self.model(torch.ones(3, 2)).square().mean().backward()
            for optimizer in self.optimizers:
                optimizer.step()
                optimizer.zero_grad()
            for average in self.averages:
                average.update(self.model, images_seen=8 * (step + 1), batch=8)

    def save(self, folder: Path, images_seen: int = 8) -> Path:
        return checkpoint.save(folder, self.model, self.averages, self.optimizers, images_seen=images_seen, seconds=1.5)

    def load(self, path: Path) -> dict[str, float]:
        return checkpoint.load(path, self.model, self.averages, self.optimizers)

    def state(self) -> dict[str, Tensor]:
        found = {f"model:{name}": value for name, value in self.model.state_dict().items()}
        for number, average in enumerate(self.averages):
            found |= {f"{number}:{name}": value for name, value in average.weights.items()}
        for optimizer in self.optimizers:
            for number, values in enumerate(optimizer.state.values()):
                found |= {f"{type(optimizer).__name__}:{number}:{name}": value for name, value in values.items()}
        return found


def test_everything_comes_back(tmp_path: Path) -> None:
    trained, fresh = Training(steps=3), Training(steps=0)
    assert fresh.load(trained.save(tmp_path)) == {"images_seen": 8, "seconds": 1.5}
    wanted, found = trained.state(), fresh.state()
    assert wanted.keys() == found.keys() and any(name.startswith("Muon") for name in found)
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)


def test_the_newest_one_stays(tmp_path: Path) -> None:
    training = Training()
    for images_seen in (8, 16, 24):
        training.save(tmp_path, images_seen)
    (tmp_path / "checkpoint-000000000999.tmp").mkdir()
    last = checkpoint.latest(tmp_path)
    assert last is not None and last.name == "checkpoint-000000000024"
    assert checkpoint.latest(tmp_path / "nowhere") is None


def test_saving_where_one_lies_keeps_it_in_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training()
    path = training.save(tmp_path)

    def full(*arguments: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    assert training.save(tmp_path) == path  # nothing has to be written but the seconds
    with pytest.raises(InputError, match="No space left"):
        training.save(tmp_path, 16)
    assert [item.name for item in tmp_path.iterdir()] == [path.name]
    assert Training(steps=0).load(path)["images_seen"] == 8


def rewritten(name: str, change: Callable[[dict[str, Tensor]], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        tensors = load_file(path / name)
        change(tensors)
        save_file(tensors, path / name)

    return damage


def written(name: str, text: str) -> Callable[[Path], None]:
    return lambda path: (path / name).write_text(text) and None


NAN = torch.full((4, 2), float("nan"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (rewritten("model.safetensors", lambda t: t.update({"0.weight": NAN})), "model.*0.weight .* not finite"),
        (rewritten("average.safetensors", lambda t: t.update({"0.weight": NAN})), r"average\..*not finite"),
        (rewritten("average-long.safetensors", lambda t: t.update({"0.weight": NAN})), "average-long.*not finite"),
        (rewritten("model.safetensors", lambda t: t.update({"0.weight": t["0.weight"].to(torch.int8)})), "torch.int8"),
        (rewritten("model.safetensors", lambda t: t.update({"0.weight": t["0.weight"][:2]})), r"\(2, 2\)"),
        (rewritten("model.safetensors", lambda t: t.pop("0.weight")), "0.weight is missing"),
        (rewritten("average.safetensors", lambda t: t.clear()), "is missing"),
        (rewritten("average.safetensors", lambda t: t.update({"more": NAN})), "more is not of this model"),
        (rewritten("optimizer.safetensors", lambda t: t.clear()), "optimizer.*is empty"),
        (rewritten("optimizer.safetensors", lambda t: t.update({"9.weight:step": NAN})), "9.weight:step is not of"),
        (rewritten("optimizer.safetensors", lambda t: t.update({"0.weight:momentum_buffer": NAN})), "is not finite"),
        (rewritten("optimizer.safetensors", lambda t: t.update({"0.weight:momentum_buffer": NAN[:1]})), "is not of"),
        (written("average.safetensors", "broken"), "checkpoint cannot be read"),
        (written("optimizer.safetensors", ""), "checkpoint cannot be read"),
        (written("state.json", ""), "checkpoint cannot be read"),
        (written("state.json", "[]"), "checkpoint cannot be read"),
        (written("state.json", "{}"), "checkpoint cannot be read"),
        (written("state.json", json.dumps({"images_seen": "many", "seconds": 1})), "checkpoint cannot be read"),
        (written("state.json", "[" * 100_000), "checkpoint cannot be read"),
        (lambda path: (path / "average-long.safetensors").unlink(), "checkpoint cannot be read"),
    ],
)
def test_a_damaged_checkpoint_is_named(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    path, fresh = Training().save(tmp_path), Training(steps=0)
    before = {name: value.clone() for name, value in fresh.state().items()}
    damage(path)
    with pytest.raises(InputError, match=message) as raised:
        fresh.load(path)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value) and len(str(raised.value)) < 500
    assert all(torch.equal(before[name], value) for name, value in fresh.state().items())  # nothing half-loaded


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    path = Training(width=5).save(tmp_path)
    with pytest.raises(InputError, match=r"0.bias is torch.float32 \(5,\), the model has torch.float32 \(4,\)"):
        Training().load(path)


def test_stored_averages_come_back_in_order(tmp_path: Path) -> None:
    training = Training()
    for average, fraction in zip(training.averages, (1e-05, 0.1), strict=True):
        average.fraction = fraction  # one whose name holds a second hyphen
    for images_seen in (64, 8):
        checkpoint.save_averages(tmp_path, training.averages, images_seen)
    found = checkpoint.stored_averages(tmp_path)
    assert [item.images_seen for item in found] == [8, 8, 64, 64]
    assert {item.fraction for item in found} == {1e-05, 0.1}
    assert found[0].weights["0.weight"].dtype == torch.float16
    (tmp_path / "average-000000000070-0.1.safetensors").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"average-000000000070-0\.1\.safetensors: average cannot be read"):
        checkpoint.stored_averages(tmp_path)
