"""Model folders: alone enough to generate, and refused when something is wrong with them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_model import save_tiny_model

from galaxysd.diffusion import folder as model_folder
from galaxysd.diffusion.card import model_card
from galaxysd.diffusion.folder import WEIGHTS, load_model, resolve, save_model
from galaxysd.diffusion.guidance import GuidanceSettings
from galaxysd.diffusion.pipeline import BATCH, GalaxyPipeline, Wish
from galaxysd.errors import InputError
from galaxysd.io import sha256_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> GalaxyPipeline:
    return GalaxyPipeline.from_pretrained(folder)


def copy(folder: Path, to: Path) -> Path:
    for path in folder.rglob("*"):
        if path.is_file():
            target = to / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return to


def test_same_pixels_in_a_fresh_process(folder: Path, pipeline: GalaxyPipeline) -> None:
    program = (
        "import sys; from galaxysd import GalaxyPipeline; import hashlib;"
        "p = GalaxyPipeline.from_pretrained(sys.argv[1]);"
        "print(hashlib.sha256(p('sdss, edge-on galaxy', n=3, seed=7).images.tobytes()).hexdigest())"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=True
    ).stdout.strip()
    import hashlib

    mine = pipeline("sdss, edge-on galaxy", n=3, seed=7).images
    assert printed == hashlib.sha256(mine.tobytes()).hexdigest()


def test_a_galaxy_does_not_depend_on_its_company(pipeline: GalaxyPipeline) -> None:
    settings = pipeline.sampling(steps=3)
    morphologies = [pipeline.understand(text) for text in ("sdss, bar", "efigi, {dust lane:1.5}", "")]
    wishes = [Wish(morphologies[index % 3], 100 + index) for index in range(BATCH + 5)]
    together = np.concatenate([images for _, images in pipeline.dream(wishes, settings)])
    for index in (0, 4, BATCH, BATCH + 4):
        ((_, alone),) = list(pipeline.dream([wishes[index]], settings))
        assert np.array_equal(alone[0], together[index])


def test_seeds_and_prompts_matter(pipeline: GalaxyPipeline) -> None:
    images = pipeline("sdss, bar", n=2, seed=1).images
    assert images.shape == (2, 16, 16, 3) and images.dtype == np.uint8
    assert not np.array_equal(images[0], images[1])
    assert np.array_equal(images[1], pipeline("sdss, bar", n=1, seed=2).images[0])
    assert not np.array_equal(images[0], pipeline("sdss, merger", n=1, seed=1).images[0])
    assert not np.array_equal(images[0], pipeline("sdss, {bar:3}", n=1, seed=1).images[0])


def test_saved_again_it_is_the_same_model(pipeline: GalaxyPipeline, tmp_path: Path) -> None:
    pipeline.save_pretrained(tmp_path / "again")
    again = GalaxyPipeline.from_pretrained(tmp_path / "again")
    assert again.model_hash == pipeline.model_hash
    assert np.array_equal(again("sdss, bar").images, pipeline("sdss, bar").images)
    index = json.loads((tmp_path / "again" / "model_index.json").read_text())
    assert index["scheduler"][0] == "diffusers"


@pytest.mark.parametrize("name", [WEIGHTS, "denoiser/config.json", "galaxysd.json"])
def test_a_missing_file_is_named(folder: Path, tmp_path: Path, name: str) -> None:
    broken = copy(folder, tmp_path / "broken")
    (broken / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        GalaxyPipeline.from_pretrained(broken)


def test_a_changed_file_is_named(folder: Path, tmp_path: Path) -> None:
    broken = copy(folder, tmp_path / "broken")
    weights = bytearray((broken / WEIGHTS).read_bytes())
    weights[-1] ^= 1
    (broken / WEIGHTS).write_bytes(weights)
    with pytest.raises(InputError, match="does not match the checksum"):
        GalaxyPipeline.from_pretrained(broken)


def test_a_truncated_safetensors_with_right_checksum_is_named(folder: Path, tmp_path: Path) -> None:
    broken = copy(folder, tmp_path / "broken")
    (broken / WEIGHTS).write_bytes((broken / WEIGHTS).read_bytes()[:-8])
    record = json.loads((broken / "galaxysd.json").read_text())
    record["sha256"][WEIGHTS] = sha256_of(broken / WEIGHTS)
    (broken / "galaxysd.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="cannot be read"):
        GalaxyPipeline.from_pretrained(broken)


def test_a_pickle_is_never_read(folder: Path, tmp_path: Path) -> None:
    broken = copy(folder, tmp_path / "broken")
    (broken / WEIGHTS).rename(broken / "denoiser" / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"pytorch_model\.bin may hold a pickle"):
        GalaxyPipeline.from_pretrained(broken)


def test_a_weight_near_one_changes_little(tmp_path: Path) -> None:
    guidance = GuidanceSettings(scale=2.0, from_level=0.3, to_level=0.95, rarest=3.0)
    dreamer = GalaxyPipeline.from_pretrained(save_tiny_model(tmp_path / "m", guidance=guidance))

    def changed(weight: float) -> float:
        plain, weighted = (
            dreamer(text).images[0].astype(float)
            for text in ("sdss, spiral galaxy, bar", f"sdss, spiral galaxy, {{bar:{weight}}}")
        )
        return float(np.abs(plain - weighted).mean())

    assert 5 * changed(1.01) < changed(2)


def test_a_guide_is_kept_checked_and_used(pipeline: GalaxyPipeline, tmp_path: Path) -> None:
    weaker = GalaxyPipeline.from_pretrained(save_tiny_model(tmp_path / "weaker", seed=1))
    both = tmp_path / "both"
    save_model(both, pipeline.denoiser, pipeline.record, "", guide=weaker.denoiser)
    guided = GalaxyPipeline.from_pretrained(both)
    assert guided.guide is not None and guided.model_hash != pipeline.model_hash
    assert guided.guide.unet.state_dict().keys() == weaker.denoiser.unet.state_dict().keys()

    def dreamed(dreamer: GalaxyPipeline, autoguidance: float) -> np.ndarray:
        return dreamer(["sdss, bar"], steps=3, autoguidance=autoguidance).images

    assert np.array_equal(dreamed(guided, 0.0), dreamed(pipeline, 0.0))
    with pytest.raises(InputError, match="this one has none"):
        dreamed(pipeline, 2.0)
    assert not np.array_equal(dreamed(guided, 2.0), dreamed(guided, 0.0))
    (both / "guide" / "config.json").unlink()
    with pytest.raises(InputError, match=r"guide/config\.json is missing"):
        GalaxyPipeline.from_pretrained(both)
    stranger = GalaxyPipeline.from_pretrained(save_tiny_model(tmp_path / "stranger", size=32))
    with pytest.raises(InputError, match="guide has another tree"):
        save_model(tmp_path / "no", pipeline.denoiser, pipeline.record, "", guide=stranger.denoiser)


def test_a_newer_format_and_broken_json(folder: Path, tmp_path: Path) -> None:
    newer = copy(folder, tmp_path / "newer")
    record = json.loads((newer / "galaxysd.json").read_text())
    (newer / "galaxysd.json").write_text(json.dumps({**record, "format": 99}))
    with pytest.raises(InputError, match="format 99"):
        GalaxyPipeline.from_pretrained(newer)
    (newer / "galaxysd.json").write_text("{")
    with pytest.raises(InputError, match=r"galaxysd\.json: cannot be read"):
        GalaxyPipeline.from_pretrained(newer)


def test_saving_over_something_else_is_refused(pipeline: GalaxyPipeline, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("precious")
    with pytest.raises(InputError, match="not a model folder"):
        pipeline.save_pretrained(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter1.tex").read_text() == "precious"


def test_a_full_disk_leaves_nothing(pipeline: GalaxyPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **keywords: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model_folder, "save_file", full)
    with pytest.raises(InputError, match="No space left"):
        pipeline.save_pretrained(tmp_path / "full")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n must be at least 1"),
        ({"seed": -1}, "seed must lie between"),
        ({"steps": 0}, "steps"),
        ({"guidance": float("nan")}, "guidance"),
        ({"sampler": "rk4"}, "sampler"),
    ],
)
def test_values_that_make_no_sense(pipeline: GalaxyPipeline, arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pipeline("sdss, bar", **arguments)


def test_unknown_model_and_device() -> None:
    with pytest.raises(InputError, match=r"neither a shipped model \(mini\) nor a folder"):
        GalaxyPipeline.from_pretrained("maxi")
    with pytest.raises(InputError, match="device 'abacus' cannot be used"):
        GalaxyPipeline.from_pretrained("mini", device="abacus")


def test_golden_ten_steps(pipeline: GalaxyPipeline) -> None:
    """A fixed network, noise and prompt: the mean of ten steps of every sampler, to catch changed mathematics."""
    device = torch.device("cpu")
    assert next(pipeline.denoiser.parameters()).device == device
    means = {
        sampler: float(pipeline("sdss, spiral galaxy", n=4, seed=3, steps=10, sampler=sampler).images.mean())
        for sampler in ("euler", "heun", "dpm++2m")
    }
    assert means == pytest.approx(GOLDEN, abs=1.0)


GOLDEN = {"euler": 73.9, "heun": 92.6, "dpm++2m": 85.7}


def test_the_shipped_card_is_what_its_record_says() -> None:
    folder = resolve("mini")
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card == model_card(load_model(folder, torch.device("cpu")).record, "mini")
