"""Two processes on one training: the curve of one, one writer, an end that is clean, and any number goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from tiny_model import SMALL_RECIPE, save_tiny_model
from toy_survey import toy_dataset

from galaxysd.diffusion.pipeline import GalaxyPipeline
from galaxysd.diffusion.recipe import Recipe, train
from galaxysd.runs import Run
from galaxysd.training import checkpoint

RECIPE = (
    *SMALL_RECIPE,
    "task.sheet=['sdss, spiral galaxy']",
    "fit.log_every=8",
    "fit.snapshot_every=64",
    "fit.cooldown=0",
    "fit.learning_rate=0.01",
)

# Each argument is a run: its folder and how many images it is to see.
PROGRAM = """
import sys
from galaxysd.diffusion.recipe import Recipe, train

dataset, model, overrides, *runs = sys.argv[1:]
recipe = Recipe.load("mini", overrides.split(";"))
for run in runs:
    folder, images = run.split("=")
    result = train([dataset], folder, recipe=recipe, images=int(images), autoencoder=model)
    print(folder, result["images_seen"], result["done"], flush=True)
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    toy_dataset(folder, n=80)
    save_tiny_model(folder / "model")
    (folder / "program.py").write_text(PROGRAM)
    return folder


def alone(work: Path, name: str, images: int) -> dict[str, Any]:
    recipe = Recipe.load("mini", RECIPE)
    return train([work / "dataset"], work / name, recipe=recipe, images=images, autoencoder=work / "model")


def start(work: Path, *runs: str) -> subprocess.Popen[str]:
    """`torchrun` with two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    arguments = [str(work / "dataset"), str(work / "model"), ";".join(RECIPE), *(str(work / run) for run in runs)]
    return subprocess.Popen(
        [*command, str(work / "program.py"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def ended(process: subprocess.Popen[str], seconds: float) -> str:
    try:
        return process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"still running:\n{process.communicate()[0]}")


def curve(work: Path, name: str) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (work / name / "metrics.jsonl").read_text().splitlines()]
    return [(line["images_seen"], line["loss"]) for line in lines if "loss" in line]


def losses(work: Path, name: str) -> list[float]:
    return [loss for _, loss in curve(work, name)]


def wait_for(condition: Any, process: subprocess.Popen[str], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until or process.poll() is not None:
            process.kill()
            pytest.fail(f"never came:\n{process.communicate()[0]}")
        time.sleep(0.05)


@pytest.mark.timeout(600)
def test_two_processes_train_as_one(work: Path) -> None:
    one = alone(work, "one", 64)

    # A whole training, and then one without an end, which is sent SIGTERM.
    process = start(work, "two=64", f"endless={10**9}")
    wait_for(lambda: (work / "endless" / "metrics.jsonl").is_file() and len(curve(work, "endless")) >= 3, process, 300)
    process.send_signal(signal.SIGTERM)
    asked = time.monotonic()
    said = ended(process, 60)
    assert time.monotonic() - asked < 40, said

    # The whole training ended cleanly and gave the curve of one process.
    assert said.count(" 64 True") == 2 and "[rank" not in said, said  # torchrun itself says what a signal did to it
    assert curve(work, "two")[0][0] == 8 and len(curve(work, "two")) == 8  # one writer: no line twice
    assert losses(work, "two") == pytest.approx(losses(work, "one"), rel=2e-3)
    assert sorted(path.name for path in (work / "two").iterdir()) == sorted(
        path.name for path in (work / "one").iterdir()
    )
    assert one["done"] and json.loads((work / "two" / "done.json").read_text())["images_seen"] == 64
    first, second = (load_file(work / name / "model" / "denoiser.safetensors") for name in ("one", "two"))
    # Each process rounds the gradient of its own rows to bfloat16, where there is such hardware.
    assert all(float((first[name] - second[name]).norm()) < 0.02 * float(first[name].norm()) for name in first)
    record = GalaxyPipeline.from_pretrained(work / "two" / "model").record
    assert record.training["generator"]["processes"] == 2

    # The endless one left a whole checkpoint of all steps, and nothing half-written.
    assert not list(work.rglob("*.tmp")), said
    last = checkpoint.latest(work / "endless")
    assert last is not None and not (work / "endless" / "done.json").exists()
    seen = json.loads((last / "state.json").read_text())["images_seen"]
    assert seen >= 24 and curve(work, "endless")[-1][0] == seen
    assert said.count(f" {seen} False") == 2, said

    # One process goes on, then two again, then one: as if nothing had happened.
    assert alone(work, "endless", seen + 32)["images_seen"] == seen + 32
    process = start(work, f"endless={seen + 64}")
    said = ended(process, 300)
    assert process.returncode == 0 and "Traceback" not in said and "Error" not in said, said
    alone(work, "endless", seen + 72)
    alone(work, "straight", seen + 72)
    assert curve(work, "endless")[-1][0] == seen + 72
    steps = [images for images, _ in curve(work, "endless")]
    assert steps == list(range(8, seen + 73, 8))
    assert losses(work, "endless") == pytest.approx(losses(work, "straight"), rel=1e-2)


@pytest.mark.parametrize("world", [3, 5])
def test_a_batch_that_cannot_be_shared_is_refused(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: int
) -> None:
    from galaxysd.errors import InputError
    from galaxysd.training import fit as module

    class Many(module.Accelerator):
        num_processes = world

    monkeypatch.setattr(module, "join", Many)
    with pytest.raises(InputError, match=f"batch 8 cannot be divided by {world} processes; choose a multiple"):
        module.fit(None, None, module.FitSettings(batch=8), Run(tmp_path), module.Budget(images=8))  # type: ignore[arg-type]
