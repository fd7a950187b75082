"""Model folders: alone enough to generate, and refused when something is wrong with them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_model import save_tiny_model, tiny_autoencoder, tiny_denoiser

from galaxysd.diffusion.card import model_card
from galaxysd.diffusion.folder import (
    AUTOENCODER,
    CONFIG,
    DENOISER,
    GRAIN,
    RECORD,
    load_autoencoder,
    load_model,
    resolve,
    save_model,
)
from galaxysd.diffusion.pipeline import GalaxyPipeline
from galaxysd.errors import InputError
from galaxysd.io import sha256_of

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> GalaxyPipeline:
    return GalaxyPipeline.from_pretrained(folder)


def copy(folder: Path, to: Path) -> Path:
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def signed(folder: Path) -> Path:
    """A folder whose record agrees with its changed files, so that what is in them counts."""
    record = json.loads((folder / RECORD).read_text())
    record["sha256"] = {name: sha256_of(folder / name) for name in record["sha256"]}
    (folder / RECORD).write_text(json.dumps(record))
    return folder


def test_saved_again_it_is_the_same_model(pipeline: GalaxyPipeline, tmp_path: Path) -> None:
    pipeline.save_pretrained(tmp_path / "again")
    again = GalaxyPipeline.from_pretrained(tmp_path / "again")
    assert again.model_hash == pipeline.model_hash
    assert np.array_equal(again("sdss, bar").images, pipeline("sdss, bar").images)
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == sorted(
        ["README.md", CONFIG, RECORD, AUTOENCODER, DENOISER, GRAIN]
    )


@pytest.mark.parametrize("name", [AUTOENCODER, DENOISER, GRAIN, CONFIG, RECORD])
def test_a_missing_file_is_named(folder: Path, tmp_path: Path, name: str) -> None:
    broken = copy(folder, tmp_path / "broken")
    (broken / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        GalaxyPipeline.from_pretrained(broken)


@pytest.mark.parametrize("name", [AUTOENCODER, DENOISER, GRAIN, CONFIG])
def test_a_changed_file_is_named(folder: Path, tmp_path: Path, name: str) -> None:
    broken = copy(folder, tmp_path / "broken")
    values = bytearray((broken / name).read_bytes())
    values[-1] ^= 1
    (broken / name).write_bytes(values)
    with pytest.raises(InputError, match=f"{name}: does not match the checksum"):
        GalaxyPipeline.from_pretrained(broken)


def test_a_truncated_safetensors_with_right_checksum_is_named(folder: Path, tmp_path: Path) -> None:
    broken = copy(folder, tmp_path / "broken")
    (broken / DENOISER).write_bytes((broken / DENOISER).read_bytes()[:-8])
    with pytest.raises(InputError, match="cannot be read"):
        GalaxyPipeline.from_pretrained(signed(broken))


@pytest.mark.parametrize("name", [AUTOENCODER, DENOISER, GRAIN])
def test_weights_that_are_no_numbers_or_no_weights(folder: Path, tmp_path: Path, name: str) -> None:
    broken = copy(folder, tmp_path / "broken")
    tensors = load_file(broken / name)
    key = sorted(tensors)[0]
    for value in (torch.full_like(tensors[key], float("nan")), tensors[key].to(torch.int8)):
        save_file({**tensors, key: value}, broken / name)
        with pytest.raises(InputError, match=f"{key} holds values that are not finite"):
            GalaxyPipeline.from_pretrained(signed(broken))
    del tensors[key]
    save_file(tensors, broken / name)
    with pytest.raises(InputError, match=rf"cannot be read .*{key}"):
        GalaxyPipeline.from_pretrained(signed(broken))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "denoiser.pt", "weights.pkl"])
def test_a_pickle_is_never_read(folder: Path, tmp_path: Path, name: str) -> None:
    broken = copy(folder, tmp_path / "broken")
    (broken / DENOISER).rename(broken / name)
    with pytest.raises(InputError, match=f"{name} may hold a pickle"):
        GalaxyPipeline.from_pretrained(broken)


def test_an_autoencoder_alone_encodes_but_does_not_generate(pipeline: GalaxyPipeline, tmp_path: Path) -> None:
    save_model(tmp_path / "alone", pipeline.record, "", autoencoder=pipeline.autoencoder)
    assert not (tmp_path / "alone" / DENOISER).exists()
    found, record, digest = load_autoencoder(tmp_path / "alone", CPU)
    assert torch.equal(found.mean, pipeline.autoencoder.mean) and len(digest) == 16
    assert record.sha256.keys() == {CONFIG, AUTOENCODER}
    with pytest.raises(InputError, match=r"holds an autoencoder alone; train a generator on it \(--autoencoder"):
        load_model(tmp_path / "alone", CPU)


def test_the_hash_of_an_autoencoder_is_that_of_its_weights(
    folder: Path, pipeline: GalaxyPipeline, tmp_path: Path
) -> None:
    save_model(tmp_path / "alone", pipeline.record, "", autoencoder=pipeline.autoencoder)
    other = save_tiny_model(tmp_path / "other", seed=1)
    same, alone, different = (load_autoencoder(path, CPU)[2] for path in (folder, tmp_path / "alone", other))
    assert same == alone != different


def test_a_model_without_grain_draws_the_decoded_image(pipeline: GalaxyPipeline, tmp_path: Path) -> None:
    parts = {"autoencoder": pipeline.autoencoder, "denoiser": pipeline.denoiser}
    save_model(tmp_path / "smooth", pipeline.record, "", **parts)
    smooth = GalaxyPipeline.from_pretrained(tmp_path / "smooth")
    assert smooth.grain is None and smooth.model_hash != pipeline.model_hash
    assert not np.array_equal(smooth("sdss, bar").images, pipeline("sdss, bar").images)


def test_latents_that_do_not_fit_are_refused(folder: Path, pipeline: GalaxyPipeline, tmp_path: Path) -> None:
    message = r"the autoencoder has 4 x 8 px latents, the denoiser draws 4 x 4 px; train the denoiser on this"
    with pytest.raises(InputError, match=message):
        save_model(tmp_path / "no", pipeline.record, "", autoencoder=tiny_autoencoder(32), denoiser=tiny_denoiser(16))
    assert not (tmp_path / "no").exists()
    broken = copy(folder, tmp_path / "broken")
    config = json.loads((broken / CONFIG).read_text())
    config["autoencoder"]["size"] = 32
    (broken / CONFIG).write_text(json.dumps(config))
    with pytest.raises(InputError, match=message):
        load_model(signed(broken), CPU)


def test_the_former_format_says_what_to_do(folder: Path, tmp_path: Path) -> None:
    former = copy(folder, tmp_path / "former")
    record = json.loads((former / RECORD).read_text())
    (former / RECORD).write_text(json.dumps({**record, "format": 1}))
    with pytest.raises(InputError, match=r"format 1 is not .* \(2\): it draws pixels; train it anew, or use it with"):
        GalaxyPipeline.from_pretrained(former)


def test_a_newer_format_and_broken_json(folder: Path, tmp_path: Path) -> None:
    newer = copy(folder, tmp_path / "newer")
    record = json.loads((newer / "galaxysd.json").read_text())
    (newer / "galaxysd.json").write_text(json.dumps({**record, "format": 99}))
    with pytest.raises(InputError, match="format 99"):
        GalaxyPipeline.from_pretrained(newer)
    for text in ("{", "[" * 100_000, '{"format": ' + 5000 * "1" + "}"):
        (newer / "galaxysd.json").write_text(text)
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

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(InputError, match="No space left"):
        pipeline.save_pretrained(tmp_path / "full")
    assert list(tmp_path.iterdir()) == []


def test_unknown_model_and_device() -> None:
    with pytest.raises(InputError, match=r"neither a shipped model \(mini\) nor a folder"):
        GalaxyPipeline.from_pretrained("maxi")
    for device in ("abacus", "meta"):
        with pytest.raises(InputError, match=f"device '{device}' cannot be used"):
            GalaxyPipeline.from_pretrained("mini", device=device)


def test_the_shipped_card_is_what_its_record_says() -> None:
    folder = resolve("mini")
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card == model_card(load_model(folder, CPU).record, "mini")
