"""Opening a dataset: it streams what was built, and says which file is missing or was changed."""

import json
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from galaxysd.catalog.catalog import Catalog, complete
from galaxysd.catalog.tree import DecisionTree
from galaxysd.data.build import build_dataset
from galaxysd.data.dataset import Dataset, PixelFile
from galaxysd.data.decode import encode_png
from galaxysd.data.framing import Framing
from galaxysd.data.sources import ImageSource
from galaxysd.errors import InputError
from galaxysd.types import Pixels

N, SIZE = 40, 8
IDS = [f"g{index:02d}" for index in range(N)]


def pixels_of(index: int) -> Pixels:
    return np.random.default_rng(index).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = tmp_path / "images"
    images.mkdir()
    for index, name in enumerate(IDS):
        (images / f"{name}.png").write_bytes(encode_png(pixels_of(index)))
    tree = DecisionTree.load("gz2")
    frame = pl.DataFrame({"id": IDS, "file": [f"{name}.png" for name in IDS]})
    catalog = Catalog(complete(frame, tree), tree, "toy")
    with ImageSource(images) as source:
        build_dataset(catalog, source, out=tmp_path / "set", framing=Framing(size=SIZE), survey="toy")
    return tmp_path / "set"


def test_open_and_stream_a_split(folder: Path) -> None:
    dataset = Dataset.open(folder)
    assert len(dataset) == N
    assert dataset.survey == "toy"
    assert dataset.tree == DecisionTree.load("gz2")
    by_split = {split: dataset.ids(split) for split in ("train", "val", "test")}
    assert sorted(name for ids in by_split.values() for name in ids) == IDS
    for split, ids in by_split.items():
        seen = [name for names, _ in dataset.pixels(split, batch=3) for name in names]
        assert seen == ids
    with pytest.raises(InputError, match="split 'tests': expected one of train, val, test"):
        dataset.ids("tests")


def test_stream_chosen_ids_in_catalogue_order(folder: Path) -> None:
    batches = list(Dataset.open(folder).pixels(["g31", "g02", "g17"], batch=2))
    assert [ids for ids, _ in batches] == [["g02", "g17"], ["g31"]]
    np.testing.assert_array_equal(batches[1][1][0], pixels_of(31))
    assert list(Dataset.open(folder).pixels([])) == []
    with pytest.raises(InputError, match="no galaxy with id 'nobody'"):
        list(Dataset.open(folder).pixels(["g01", "nobody"]))


def test_pixel_file_follows_the_order_asked_for(folder: Path, tmp_path: Path) -> None:
    order = [*IDS[::-1][:10], "g00"]
    file = Dataset.open(folder).write_pixels(tmp_path / "cache" / "pixels.u8", order)
    assert (len(file), file.size) == (11, SIZE)
    read = file.read([10, 0, 0])
    assert read.shape == (3, 3, SIZE, SIZE)
    np.testing.assert_array_equal(read[0].transpose(1, 2, 0), pixels_of(0))
    np.testing.assert_array_equal(read[1].transpose(1, 2, 0), pixels_of(39))
    np.testing.assert_array_equal(read[1], read[2])
    for wrong in (11, -1):
        with pytest.raises(IndexError):
            file.read([wrong])
    file.close()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["pixels.u8"]
    with pytest.raises(InputError, match="an id is asked for twice"):
        Dataset.open(folder).write_pixels(tmp_path / "twice.u8", ["g00", "g00"])


def test_pixel_file_is_thread_safe(folder: Path, tmp_path: Path) -> None:
    file = Dataset.open(folder).write_pixels(tmp_path / "pixels.u8")
    expected = np.stack([pixels_of(index).transpose(2, 0, 1) for index in range(N)])
    results: list[bool] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(50):
            rows = rng.integers(0, N, 16)
            results.append(bool((file.read(rows) == expected[rows]).all()))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 200


def test_pixel_file_of_wrong_length(tmp_path: Path) -> None:
    (tmp_path / "pixels.u8").write_bytes(bytes(100))
    with pytest.raises(InputError, match=r"pixels\.u8: 100 bytes; expected 384 for 2 images of 8 x 8"):
        PixelFile(tmp_path / "pixels.u8", count=2, size=8)
    with pytest.raises(InputError, match="cannot be read"):
        PixelFile(tmp_path / "missing.u8", count=2, size=8)


def test_streaming_memory_does_not_grow(tmp_path: Path) -> None:
    """Peak while streaming 1,000 images of 12 kB each stays a fraction of the whole."""
    tree, size = DecisionTree.load("gz2"), 64
    images = tmp_path / "images"
    images.mkdir()
    names = [f"n{index}" for index in range(1000)]
    flat = [encode_png(np.full((size, size, 3), 50 * seed, np.uint8)) for seed in range(4)]
    for index, name in enumerate(names):
        (images / f"{name}.png").write_bytes(flat[index % 4])
    frame = pl.DataFrame({"id": names, "file": [f"{name}.png" for name in names]})
    with ImageSource(images) as source:
        catalog = Catalog(complete(frame, tree), tree, "toy")
        dataset = build_dataset(catalog, source, out=tmp_path / "set", framing=Framing(size=size), survey="toy").dataset
    _ = dataset.catalog
    tracemalloc.start()
    count = sum(len(ids) for ids, _ in dataset.pixels(batch=64))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 1000
    assert peak < 3e6 < 1000 * size * size * 3 / 4


@pytest.mark.parametrize("name", ["images-00000.parquet", "catalog.parquet", "rejected.parquet"])
@pytest.mark.parametrize("damage", ["missing", "shorter", "changed"])
def test_damaged_file_is_named(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "shorter":
        path.write_bytes(data[:-10])
    else:
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    with pytest.raises(InputError, match=f"{name}: (missing|was changed)"):
        dataset = Dataset.open(folder)
        for _ in dataset.pixels():
            pass
        _ = dataset.catalog, dataset.rejected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda info: info.update(survey="other"), "was changed after"),
        (lambda info: info["splits"].update(train=1), "was changed after"),
        (lambda info: info["tree"].update(citation="me"), "was changed after"),
        (lambda info: info.pop("hash"), "was changed after"),
        (lambda info: info.update(format=99), "not a dataset description of format 1"),
        (lambda info: info.update(extra=1), "extra"),
        (lambda info: info.pop("inputs"), "inputs"),
    ],
)
def test_damaged_description_is_named(folder: Path, change: object, message: str) -> None:
    path = folder / "dataset.json"
    info = json.loads(path.read_text())
    change(info)  # type: ignore[operator]
    path.write_text(json.dumps(info))
    with pytest.raises(InputError, match=rf"dataset\.json.*{message}"):
        Dataset.open(folder)


def test_not_a_dataset(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such dataset folder"):
        Dataset.open(tmp_path / "missing")
    with pytest.raises(InputError, match=r"dataset\.json: missing; this folder is not a dataset"):
        Dataset.open(tmp_path)
    (tmp_path / "dataset.json").write_text("{ not json")
    with pytest.raises(InputError, match=r"dataset\.json: is not valid JSON"):
        Dataset.open(tmp_path)
