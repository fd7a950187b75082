"""The latent cache: what lies in it, and what is never read from it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_model import tiny_autoencoder

from galaxysd.data.dataset import Dataset
from galaxysd.data.transforms import dihedral
from galaxysd.diffusion.autoencoder import to_unit
from galaxysd.diffusion.data import DataSettings, GalaxyPool
from galaxysd.diffusion.latents import LatentPool
from galaxysd.errors import InputError


@pytest.fixture(scope="module")
def pool(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> GalaxyPool:
    return GalaxyPool([Dataset.open(toy)], "train", DataSettings(), tmp_path_factory.mktemp("pool"), limit=20)


def test_each_orientation_is_the_turned_image_encoded(pool: GalaxyPool, tmp_path: Path) -> None:
    autoencoder = tiny_autoencoder()
    latents = LatentPool(pool, autoencoder, "one", tmp_path / "latents.bin")
    assert latents.latents.shape == (8, len(pool), 4, 4, 4)
    images = pool.images(np.arange(len(pool)))
    for orientation in range(8):
        turned = dihedral(images, torch.full((len(pool),), orientation))
        with torch.no_grad():
            wanted = autoencoder.encode(to_unit(turned))
        found = torch.from_numpy(latents.latents[orientation].astype(np.float32))
        assert torch.allclose(found, wanted, atol=1e-2, rtol=1e-2)
    assert not np.array_equal(latents.latents[0], latents.latents[1])
    assert not list(tmp_path.glob("*.tmp"))


def test_a_batch_is_what_the_pool_would_draw(pool: GalaxyPool, tmp_path: Path) -> None:
    latents = LatentPool(pool, tiny_autoencoder(), "one", tmp_path / "latents.bin")
    one, two = (latents.batch(16, torch.Generator().manual_seed(3)) for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    indices, orientation = pool.draw(16, torch.Generator().manual_seed(3))
    assert np.array_equal(one["latents"].numpy(), latents.latents[orientation.numpy(), indices].astype(np.float32))
    assert torch.equal(one["fractions"], torch.from_numpy(pool.fractions[indices]))
    assert one["latents"].dtype == torch.float32
    assert latents.spread() == pytest.approx(float(latents.latents[0].astype(np.float32).std(axis=0).mean()), rel=0.01)


def test_a_cache_is_written_once(pool: GalaxyPool, tmp_path: Path) -> None:
    first = LatentPool(pool, tiny_autoencoder(), "one", tmp_path / "latents.bin")
    written = (tmp_path / "latents.bin").stat().st_mtime_ns
    again = LatentPool(pool, tiny_autoencoder(), "one", tmp_path / "latents.bin")
    assert (tmp_path / "latents.bin").stat().st_mtime_ns == written
    assert np.array_equal(first.latents, again.latents)


def test_other_weights_or_galaxies_or_a_cut_file_are_refused(pool: GalaxyPool, toy: Path, tmp_path: Path) -> None:
    path = tmp_path / "latents.bin"
    LatentPool(pool, tiny_autoencoder(), "one", path)
    with pytest.raises(InputError, match="another autoencoder or of other galaxies; delete it"):
        LatentPool(pool, tiny_autoencoder(seed=1), "two", path)
    fewer = GalaxyPool([Dataset.open(toy)], "train", DataSettings(), tmp_path / "fewer", limit=19)
    with pytest.raises(InputError, match="of other galaxies"):
        LatentPool(fewer, tiny_autoencoder(), "one", path)
    same = GalaxyPool([Dataset.open(toy)], "train", DataSettings(), tmp_path / "same", limit=20)
    pixels = same.files[0].path
    values = bytearray(pixels.read_bytes())
    values[0] ^= 255
    pixels.write_bytes(values)
    with pytest.raises(InputError, match="of other galaxies"):
        LatentPool(same, tiny_autoencoder(), "one", path)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(InputError, match=r"cut short; delete it and latents\.bin\.json"):
        LatentPool(pool, tiny_autoencoder(), "one", path)
    path.unlink()
    with pytest.raises(InputError, match="cut short"):
        LatentPool(pool, tiny_autoencoder(), "one", path)


@pytest.mark.parametrize("note", ["", "[]", "[" * 100_000])
def test_a_damaged_note_is_named(pool: GalaxyPool, tmp_path: Path, note: str) -> None:
    path = tmp_path / "latents.bin"
    LatentPool(pool, tiny_autoencoder(), "one", path)
    (tmp_path / "latents.bin.json").write_text(note)
    with pytest.raises(InputError, match=r"latents\.bin\.json"):
        LatentPool(pool, tiny_autoencoder(), "one", path)


def test_images_of_another_size_are_refused(pool: GalaxyPool, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="images of 16 px, the autoencoder reads 32 px; build the datasets with --size"
    ):
        LatentPool(pool, tiny_autoencoder(32), "one", tmp_path / "latents.bin")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing(pool: GalaxyPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *arguments: object, **keywords: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(InputError, match="No space left"):
        LatentPool(pool, tiny_autoencoder(), "one", tmp_path / "latents.bin")
    monkeypatch.undo()
    assert not list(tmp_path.iterdir())


def test_the_note_says_what_the_cache_holds(pool: GalaxyPool, tmp_path: Path) -> None:
    LatentPool(pool, tiny_autoencoder(), "one", tmp_path / "latents.bin")
    note = json.loads((tmp_path / "latents.bin.json").read_text())
    assert note["autoencoder"] == "one" and note["shape"] == [8, 20, 4, 4, 4]
