"""The training pack: what is written is read, damage is refused, and it trains where only small libraries are."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.utils._python_dispatch import TorchDispatchMode

from galaxysd.cli import main as cli
from galaxysd.data.dataset import Dataset
from galaxysd.data.transforms import dihedral
from galaxysd.diffusion.autoencoder import Autoencoder
from galaxysd.diffusion.autoencoder_task import AutoencoderTask
from galaxysd.diffusion.data import GalaxyPool
from galaxysd.diffusion.denoiser import GalaxyDenoiser
from galaxysd.diffusion.device_data import DeviceLatents, DevicePairs, DevicePool
from galaxysd.diffusion.flow_task import FlowTask
from galaxysd.diffusion.folder import load_model
from galaxysd.diffusion.grain import GrainNetwork, GrainSettings
from galaxysd.diffusion.grain_task import GrainTask
from galaxysd.diffusion.lite_maps import LiteMaps
from galaxysd.diffusion.network import NetworkSettings
from galaxysd.diffusion.pack import Recipes, read_pack, write_pack
from galaxysd.diffusion.pieces import join
from galaxysd.diffusion.pipeline import GalaxyPipeline
from galaxysd.diffusion.train import main, train_pack
from galaxysd.errors import InputError

SMALL = (
    "autoencoder.network.size=16",
    "autoencoder.network.widths=[8, 16]",
    "autoencoder.network.last=8",
    "autoencoder.fit.batch=8",
    "flow.network.widths=[16, 16]",
    "flow.network.blocks=1",
    "flow.network.embedding=16",
    "fit.batch=8",
    "task.sheet=['toy, spiral galaxy', 'toy']",
    "grain.network.width=8",
    "grain.network.blocks=1",
    "grain.fit.batch=8",
    "grain.task.crop=8",
)
BLOCKED = (
    "polars",
    "pyarrow",
    "astropy",
    "sklearn",
    "scipy",
    "diffusers",
    "transformers",
    "cyclopts",
    "matplotlib",
    "jinja2",
)

# A Python that has none of the heavy packages, and says so when one is asked for.
BARE = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {blocked!r} else self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
from galaxysd.diffusion.train import main
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def pack(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pack") / "toy.pack"
    write_pack([toy], path, recipes=Recipes.load("mini", SMALL))
    return path


@pytest.fixture(scope="module")
def trained(pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training of a few seconds, done by a Python without the heavy packages."""
    out = tmp_path_factory.mktemp("trained") / "run"
    command = [sys.executable, "-c", BARE.format(blocked=set(BLOCKED)), str(pack), "--out", str(out)]
    done = subprocess.run(
        [*command, "--minutes", "0.08", "--device", "cpu"], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert "trained autoencoder, flow, grain" in done.stdout
    return out


def test_round_trip(toy: Path, pack: Path, tmp_path: Path) -> None:
    found = read_pack(pack)
    data = found.info.recipes.flow.data
    for split, pool in (("train", found.train), ("val", found.val)):
        expected = GalaxyPool([Dataset.open(toy)], split, data, tmp_path)
        assert list(found.info.ids[split]) == expected.ids and len(pool) == len(expected)
        rows = np.arange(len(pool))
        assert (
            pool.images(rows).float() - expected.images(rows).float()
        ).abs().mean() < 4  # the toys are noise for the most part
        told, wanted = pool.condition(rows), expected.condition(rows)
        assert torch.allclose(told.fractions, wanted.fractions, atol=1e-3)
        assert torch.equal(told.known, wanted.known) and torch.equal(told.survey, wanted.survey)
        assert np.allclose(pool.weights, expected.weights, rtol=1e-6)
    assert found.info.evidence == GalaxyPool([Dataset.open(toy)], "train", data, tmp_path).evidence()
    recipes, wanted_recipes = found.info.recipes, Recipes.load("mini", SMALL)
    assert recipes.flow == wanted_recipes.flow and recipes.grain.network == wanted_recipes.grain.network
    assert recipes.autoencoder.data == recipes.grain.data == recipes.flow.data
    assert not [path for path in pack.parent.iterdir() if path != pack]  # nothing is left beside it


def test_the_same_datasets_give_the_same_pack(toy: Path, pack: Path, tmp_path: Path) -> None:
    again = write_pack([toy], tmp_path / "again.pack", recipes=Recipes.load("mini", SMALL))
    assert (tmp_path / "again.pack").read_bytes() == pack.read_bytes()
    assert again["bytes"] == pack.stat().st_size and again["galaxies"] <= 80


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_cut_short(pack: Path, tmp_path: Path, share: float) -> None:
    content = pack.read_bytes()
    (tmp_path / "cut").write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"is cut short|is not a training pack"):
        read_pack(tmp_path / "cut")


def test_changed_or_of_another_format(pack: Path, toy: Path, tmp_path: Path) -> None:
    content = bytearray(pack.read_bytes())
    content[-40] ^= 1
    (tmp_path / "changed").write_bytes(content)
    with pytest.raises(InputError, match="does not match its checksum"):
        read_pack(tmp_path / "changed")
    (tmp_path / "newer").write_bytes(pack.read_bytes().replace(b'{\\"format\\": 1', b'{\\"format\\": 9'))
    with pytest.raises(InputError, match="pack of format 9, this version reads 1"):
        read_pack(tmp_path / "newer")
    for other in (toy / "catalog.parquet", toy / "dataset.json"):
        with pytest.raises(InputError, match="is not a training pack"):
            read_pack(other)
    with pytest.raises(InputError, match="cannot be read"):
        read_pack(tmp_path / "absent")


def test_bad_input_is_one_line(pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cut").write_bytes(pack.read_bytes()[:-5])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    out = ["--out", str(tmp_path / "out"), "--minutes", "0.01", "--device", "cpu"]
    wrong = {
        "is cut short": [str(tmp_path / "cut"), *out],
        "needs PACK": [str(pack)],
        "expected some of autoencoder": [str(pack), *out, "--stages", "flow,dust"],
        "needs an autoencoder": [str(pack), *out, "--stages", "flow"],
        "expected three numbers": [str(pack), *out, "--shares", "1,2"],
        "--minutes -1": [str(pack), *out, "--minutes", "-1"],
        "--batch 0": [str(pack), *out, "--batch", "0"],
        "not an empty folder": [str(pack), *out, "--out", str(tmp_path / "full")],
        "features cannot be read": [str(pack), *out, "--features", str(tmp_path / "absent")],
        "cannot be used": [str(pack), *out, "--device", "warp"],
        "expected key=value": [str(pack), *out, "--set", "flow.fit.speed=1"],
        "holds no whole set": ["--join", str(tmp_path / "full"), str(tmp_path / "model")],
    }
    for message, arguments in wrong.items():
        with pytest.raises(SystemExit) as left:
            main(arguments)
        error = capsys.readouterr().err
        assert left.value.code == 2 and message in error and error.count("\n") == 1, error
        assert not (tmp_path / "out").exists()


def test_a_recipe_of_another_size_is_refused(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="images of 16 px, the recipe is for 64 px"):
        write_pack([toy], tmp_path / "pack", recipes=Recipes.load())
    assert not list(tmp_path.iterdir())


def test_trains_without_the_heavy_packages_and_generates(trained: Path) -> None:
    lines = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    stages = [line["stage"] for line in lines if "images_per_second" in line]
    assert list(dict.fromkeys(stages)) == ["autoencoder", "flow", "grain"]
    assert lines[-1]["done"] and lines[-1]["seconds"] < 120  # a few where the machine is idle
    pipeline = GalaxyPipeline.from_pretrained(trained / "model")
    assert pipeline.grain is not None
    assert pipeline("toy, spiral galaxy", n=2, steps=2).images.shape == (2, 16, 16, 3)
    told = pipeline.record.training
    assert list(told) == ["autoencoder", "generator", "grain"]
    assert told["generator"]["images_seen"] > 0 and told["generator"]["device"] == "cpu"


def test_pieces_join_to_the_same_model(trained: Path, tmp_path: Path) -> None:
    assert all(path.stat().st_size < 15_000_000 for path in (trained / "pieces").iterdir())
    assert join(trained, tmp_path / "joined") == ("autoencoder", "flow", "grain")
    cpu = torch.device("cpu")
    assert load_model(tmp_path / "joined", cpu).hash == load_model(trained / "model", cpu).hash
    assert "Evidence" in (tmp_path / "joined" / "README.md").read_text()  # here the template library is at hand


def test_damaged_or_mixed_pieces(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "pieces", tmp_path / "pieces")
    grain = next((tmp_path / "pieces").glob("grain-*.bin"))
    grain.write_bytes(grain.read_bytes()[:-1])
    assert join(tmp_path / "pieces", tmp_path / "joined") == ("autoencoder", "flow")
    described = next((tmp_path / "pieces").glob("flow-*.json"))
    values = json.loads(described.read_text())
    described.write_text(json.dumps(values | {"autoencoder": "0" * 64}))
    with pytest.raises(InputError, match="trained on another autoencoder"):
        join(tmp_path / "pieces", tmp_path / "mixed")


def test_many_pieces(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Path) -> None:
    monkeypatch.setattr("galaxysd.diffusion.pieces.LIMIT", 5_000)
    monkeypatch.setattr("galaxysd.diffusion.train.PIECES_EVERY", 0.2)
    result = train_pack(
        pack, tmp_path / "run", minutes=0.03, device="cpu", stages=["flow"], start=str(trained / "model"), batch=16
    )
    assert result["stages"] == ["autoencoder", "flow", "grain"]  # the grain stage is the one of the model it came from
    parts = sorted(path.name for path in (tmp_path / "run" / "pieces").glob("flow-*.bin"))
    assert len(parts) > 1 and len({name.rsplit("-", 1)[0] for name in parts}) == 1
    kept, given = (load_model(folder / "model", torch.device("cpu")) for folder in (tmp_path / "run", trained))
    weights, expected = kept.autoencoder.state_dict(), given.autoencoder.state_dict()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert kept.record.training["generator"]["recipe"]["fit"]["learning_rate"] == pytest.approx(0.05 * 2**0.5)


def test_an_index_turns_as_dihedral_does(pack: Path) -> None:
    pool = read_pack(pack).train
    device = DevicePool(pool, torch.device("cpu"))
    rows = torch.arange(16) % len(pool)
    orientation = torch.arange(16) % 8
    assert torch.equal(device.turned(device.pixels[rows], orientation), dihedral(pool.pixels[rows], orientation))


def test_draws_follow_the_weights(pack: Path) -> None:
    pool = read_pack(pack).train
    pool.weights = torch.zeros(len(pool))
    pool.weights[[2, 5]] = torch.tensor([1.0, 3.0])
    device = DevicePool(pool, torch.device("cpu"))
    batch = device.batch(4_000, torch.Generator().manual_seed(0))
    sums = batch["images"].flatten(1).long().sum(dim=1)
    first, second = (pool.pixels[row].long().sum() for row in (2, 5))
    assert int(((sums == first) | (sums == second)).sum()) == 4_000
    assert float((sums == second).float().mean()) == pytest.approx(0.75, abs=0.03)


def test_a_slow_machine_learns_from_the_latents_it_has(pack: Path) -> None:
    recipes = Recipes.load("mini", SMALL)
    torch.manual_seed(0)
    autoencoder = Autoencoder(recipes.autoencoder.network).eval()
    pool = DevicePool(read_pack(pack).train, torch.device("cpu"))
    some = DeviceLatents(pool, autoencoder, chunk=8, until=0.0)
    assert some.latents.shape == (1, 8, 4, 4, 4)
    rows = some.pool.survey[some.rows]
    assert len(rows) == 8 and some.batch(32, torch.Generator())["latents"].shape == (32, 4, 4, 4)
    whole = DeviceLatents(pool, autoencoder, chunk=8, until=1e12)
    assert whole.latents.shape == (8, len(pool), 4, 4, 4)
    image = pool.turned(pool.pixels[whole.rows[:1]], torch.tensor([3])).float() / 127.5 - 1
    with torch.no_grad():
        assert torch.allclose(autoencoder.encode(image), whole.latents[3, :1].float(), atol=2e-2)
    assert len(DevicePairs(pool, autoencoder, chunk=8, until=0.0).rows) == 8


class NoReading(TorchDispatchMode):
    """Fails when a value of a tensor is read, which on a GPU waits for all work before it."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        assert func not in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default), func
        return func(*args, **(kwargs or {}))


def test_no_batch_waits_for_the_device(pack: Path) -> None:
    read = read_pack(pack)
    recipes, tree = read.info.recipes, read.info.tree
    pool = DevicePool(read.train, torch.device("cpu"))
    autoencoder = Autoencoder(recipes.autoencoder.network).eval()
    network = NetworkSettings(
        size=4, answers=len(tree.columns), questions=len(tree.questions), surveys=1, **recipes.flow.network.model_dump()
    )
    denoiser = GalaxyDenoiser(network, 1.0, tree, ("toy",))
    grain = GrainNetwork(GrainSettings(surveys=1, width=8, blocks=1))
    made = (
        (pool, AutoencoderTask(autoencoder, recipes.autoencoder.task, read.val, None)),
        (
            DeviceLatents(pool, autoencoder, chunk=64, until=0.0),
            FlowTask(denoiser, autoencoder, recipes.flow.task, read.val),
        ),
        (
            DevicePairs(pool, autoencoder, chunk=64, until=0.0),
            GrainTask(grain, autoencoder, recipes.grain.task, read.val),
        ),
    )
    for data, task in made:
        generator = torch.Generator().manual_seed(0)
        with NoReading():
            task.prepare(data.batch(8, generator), generator, 0.5)


def test_blocking_blocks() -> None:
    code = BARE.format(blocked=set(BLOCKED)).replace("from galaxysd.diffusion.train import main", "import polars")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=dict(os.environ)
    )
    assert done.returncode == 1 and "No module named 'polars'" in done.stderr


def lite_weights() -> dict[str, torch.Tensor]:
    """EfficientNet-Lite0 up to block 10 with random weights, under the names of transformers."""
    generator = torch.Generator().manual_seed(0)
    found: dict[str, torch.Tensor] = {}

    def add(convolution: str, normalisation: str, *shape: int) -> None:
        found[f"{convolution}.weight"] = torch.randn(shape, generator=generator) / (shape[1] * shape[2] ** 2) ** 0.5
        for name in ("weight", "running_var"):
            found[f"{normalisation}.{name}"] = 0.5 + torch.rand(shape[0], generator=generator)
        for name in ("bias", "running_mean"):
            found[f"{normalisation}.{name}"] = 0.1 * torch.randn(shape[0], generator=generator)

    add("embeddings.convolution", "embeddings.batchnorm", 32, 3, 3, 3)
    widths, kernels = (32, 16, 24, 24, 40, 40, 80, 80, 80, 112, 112, 112), (3, 3, 3, 5, 5, 3, 3, 3, 5, 5, 5)
    for index, (before, after) in enumerate(itertools.pairwise(widths)):
        name, inner = f"encoder.blocks.{index}", before * (6 if index else 1)
        if index:
            add(f"{name}.expansion.expand_conv", f"{name}.expansion.expand_bn", inner, before, 1, 1)
        depthwise = f"{name}.depthwise_conv.depthwise_"
        add(f"{depthwise}conv", f"{depthwise}norm", inner, 1, kernels[index], kernels[index])
        add(f"{name}.projection.project_conv", f"{name}.projection.project_bn", after, inner, 1, 1)
    return found


def test_lite_maps_are_those_of_transformers(tmp_path: Path) -> None:
    from transformers import EfficientNetConfig, EfficientNetModel

    config = EfficientNetConfig(width_coefficient=1.0, depth_coefficient=1.0, hidden_dim=1280, hidden_act="relu6")
    network = EfficientNetModel(config).eval()
    weights = lite_weights()
    assert not network.load_state_dict(weights, strict=False).unexpected_keys
    with torch.no_grad():
        for block in network.encoder.blocks:  # transformers knows no Lite: its gates are held open
            block.squeeze_excite.expand.weight.zero_()
            block.squeeze_excite.expand.bias.fill_(100.0)
    save_file(weights, tmp_path / "model.safetensors")
    maps = LiteMaps(tmp_path / "model.safetensors", torch.device("cpu"))
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = maps(images)
    assert [tuple(seen.shape) for seen in found] == [(2, 32, 32, 32), (2, 24, 16, 16), (2, 40, 8, 8), (2, 112, 4, 4)]
    with torch.no_grad():
        stages = network(pixel_values=2 * images - 1, output_hidden_states=True).hidden_states
    for seen, index in zip(found, (0, 3, 5, 11), strict=True):  # the stem, then one after each block
        assert (seen - stages[index]).abs().max() < 0.02 * stages[index].abs().max()
    found[-1].sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0

    save_file({"classifier.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="not EfficientNet-Lite0"):
        LiteMaps(tmp_path / "other.safetensors", torch.device("cpu"))
    (tmp_path / "damaged").write_bytes(b"no weights")
    with pytest.raises(InputError, match="features cannot be read"):
        LiteMaps(tmp_path / "damaged", torch.device("cpu"))


def test_features_bring_the_perceptual_term(pack: Path, tmp_path: Path) -> None:
    save_file(lite_weights(), tmp_path / "lite.safetensors")
    train_pack(
        pack,
        tmp_path / "run",
        minutes=0.005,
        device="cpu",
        stages=["autoencoder"],
        features=tmp_path / "lite.safetensors",
    )
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert any(line.get("perceptual", 0) > 0 for line in lines) and not any("note" in line for line in lines)
    record = json.loads((tmp_path / "run" / "model" / "galaxysd.json").read_text())
    assert record["training"]["autoencoder"]["features"].startswith("efficientnet-lite0-")


def test_the_command_writes_a_pack(toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = [argument for setting in SMALL for argument in ("--set", setting)]
    cli(["train", "--pack", str(tmp_path / "toy.pack"), "--data", str(toy), *settings, "--seed", "3", "--json"])
    told = json.loads(capsys.readouterr().out)
    found = read_pack(tmp_path / "toy.pack")
    assert told["hash"] == found.hash and told["bytes"] == (tmp_path / "toy.pack").stat().st_size
    assert found.info.recipes.grain.fit.seed == found.info.recipes.flow.fit.seed == 3
    wrong = {
        "leave out --minutes": ["--pack", str(tmp_path / "b.pack"), "--minutes", "1"],
        "give --out": [],
        "means nothing to recipe 'mini-autoencoder'": ["--out", "x", "--recipe", "mini-autoencoder", "--from", "mini"],
        "is a folder": ["--pack", str(tmp_path)],
    }
    for message, arguments in wrong.items():
        with pytest.raises(SystemExit) as left:
            cli(["train", "--data", str(toy), *arguments])
        error = capsys.readouterr().err
        assert left.value.code == 2 and message in error and error.count("\n") == 1, error


@pytest.mark.parametrize(
    ("recipe", "kind"), [("mini", "generator"), ("mini-autoencoder", "autoencoder"), ("mini-grain", "grain")]
)
def test_a_recipe_is_told_by_its_kind(recipe: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    cli(["train", "--data", "none", "--recipe", recipe, "--set", "fit.batch=6", "--dry-run", "--json"])
    values = json.loads(capsys.readouterr().out)
    assert values["kind"] == kind and values["fit"]["batch"] == 6
