"""Tables of features: right rows, read again instead of computed, never mistaken for another encoder's."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from PIL import Image

from galaxysd.data.dataset import Dataset
from galaxysd.data.framing import Framing
from galaxysd.encoders import feature_table as module
from galaxysd.encoders.feature_table import TABLE, FeatureTable, embed
from galaxysd.encoders.galaxyemb import EightOrientations
from galaxysd.encoders.registry import PixelEncoder
from galaxysd.errors import InputError
from galaxysd.types import Features, Pixels


class Counting(PixelEncoder):
    """Counts the images it was given."""

    def __init__(self) -> None:
        self.seen = 0

    def features(self, images: Pixels) -> Features:
        self.seen += len(images)
        return super().features(images)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Seven pictures of 20 x 16 px, one of them in a subfolder."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(7):
        name = f"more/{index}.png" if index == 6 else f"{index}.png"
        Image.fromarray(rng.integers(0, 256, (20, 16, 3), dtype=np.uint8)).save(folder / name)
    return folder


def test_a_dataset_in_catalogue_order_with_its_splits(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 7)  # several batches, the last one not full
    dataset = Dataset.open(toy / "dataset")
    report = embed(toy / "dataset", PixelEncoder(), tmp_path / "out")
    assert (report.galaxies, report.dimension, report.rejected) == (len(dataset), 768, 0) and not report.already_done
    found = FeatureTable.read(tmp_path / "out")
    assert found.ids == dataset.ids() and found.splits == dataset.catalog.frame["split"].to_list()
    pixels = np.concatenate([images for _, images in dataset.pixels()])
    assert np.array_equal(found.features, PixelEncoder().features(pixels)) and found.features.dtype == np.float32
    assert found.info.encoder_hash == PixelEncoder.hash
    assert pq.read_schema(report.file).field("features").type.list_size == 768
    assert pl.read_parquet(report.file)["features"].dtype == pl.Array(pl.Float32, 768)


def test_the_same_again_is_read_not_computed(toy: Path, tmp_path: Path) -> None:
    encoder = Counting()
    first = embed(toy / "dataset", encoder, tmp_path / "out", limit=10)
    assert encoder.seen == first.galaxies == 10
    written = (tmp_path / "out" / TABLE).stat().st_mtime_ns
    again = embed(toy / "dataset", encoder, tmp_path / "out", limit=10)
    assert encoder.seen == 10 and again == first.model_copy(update={"already_done": True})
    assert (tmp_path / "out" / TABLE).stat().st_mtime_ns == written


def test_a_table_of_something_else_is_refused(toy: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    embed(toy / "dataset", PixelEncoder(), out, limit=10)
    with pytest.raises(InputError, match=r"features of another encoder \(pixels\)"):
        embed(toy / "dataset", EightOrientations(PixelEncoder()), out, limit=10)
    for source, limit in ((toy / "dataset", 11), (pictures, None)):
        with pytest.raises(InputError, match="features of other images"):
            embed(source, PixelEncoder(), out, limit=limit)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    with pytest.raises(InputError, match="holds no table of features"):
        embed(pictures, PixelEncoder(), tmp_path / "mine")


def test_plain_images_are_framed_and_named_by_their_path(pictures: Path, tmp_path: Path) -> None:
    report = embed(pictures, PixelEncoder(), tmp_path / "out", framing=Framing(size=16))
    found = FeatureTable.read(tmp_path / "out")
    assert found.ids == ["0", "1", "2", "3", "4", "5", "more/6"] and found.splits == [None] * 7
    square = np.asarray(Image.open(pictures / "3.png"))[2:18]
    assert np.array_equal(found.features[3], PixelEncoder().features(square[None])[0])
    shutil.copytree(pictures, tmp_path / "moved")
    assert embed(tmp_path / "moved", PixelEncoder(), tmp_path / "out", framing=Framing(size=16)).already_done
    (tmp_path / "moved" / "2.png").write_bytes((tmp_path / "moved" / "3.png").read_bytes())
    other = embed(tmp_path / "moved", PixelEncoder(), tmp_path / "other", framing=Framing(size=16))
    assert other.images_hash != report.images_hash
    assert embed(pictures, PixelEncoder(), tmp_path / "large").images_hash != report.images_hash


def test_one_bad_image_is_listed_and_too_many_are_an_error(pictures: Path, tmp_path: Path) -> None:
    (pictures / "3.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"1 of 7 images cannot be used.*the first is 3:"):
        embed(pictures, PixelEncoder(), tmp_path / "out")
    assert not (tmp_path / "out" / TABLE).exists()
    report = embed(pictures, PixelEncoder(), tmp_path / "out", max_rejected=0.2)
    assert (report.galaxies, report.rejected) == (6, 1)
    assert "3" not in FeatureTable.read(tmp_path / "out").ids
    rejected = pl.read_parquet(tmp_path / "out" / "rejected.parquet")
    assert rejected.select("id", "file").row(0) == ("3", "3.png")


def test_input_that_makes_no_sense(toy: Path, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="neither a dataset nor images"):
        embed(tmp_path / "empty", PixelEncoder(), tmp_path / "out")
    with pytest.raises(InputError, match="no such folder"):
        embed(tmp_path / "nowhere", PixelEncoder(), tmp_path / "out")
    with pytest.raises(InputError, match="limit 0"):
        embed(pictures, PixelEncoder(), tmp_path / "out", limit=0)
    with pytest.raises(InputError, match="has its own framing"):
        embed(toy / "dataset", PixelEncoder(), tmp_path / "out", framing=Framing())
    (pictures / "2.jpg").write_bytes((pictures / "2.png").read_bytes())
    with pytest.raises(InputError, match=r"2\.png and 2\.jpg would have the same id '2'"):
        embed(pictures, PixelEncoder(), tmp_path / "out")


class Broken(PixelEncoder):
    """Gives no number for the third image."""

    def features(self, images: Pixels) -> Features:
        found = super().features(images)
        found[2, 5] = np.nan
        return found


def test_features_that_are_no_numbers_name_the_image_and_leave_nothing(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not finite, first for 2"):
        embed(pictures, Broken(), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
    assert embed(pictures, PixelEncoder(), tmp_path / "out").galaxies == 7


def test_a_damaged_or_foreign_table_is_named(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    embed(pictures, PixelEncoder(), out)
    (out / TABLE).write_bytes((out / TABLE).read_bytes()[:-20])
    for use in (lambda: embed(pictures, PixelEncoder(), out), lambda: FeatureTable.read(out)):
        with pytest.raises(InputError, match=r"features\.parquet: cannot be read"):
            use()
    pl.DataFrame({"id": ["a"]}).write_parquet(out / TABLE)
    with pytest.raises(InputError, match="is not a table of features"):
        FeatureTable.read(out)
