"""Building a dataset folder: what goes in comes out, what cannot is listed, and nothing half-written stays behind."""

import errno
import io
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from galaxysd.catalog.catalog import Catalog, complete
from galaxysd.catalog.readers import read_votes
from galaxysd.catalog.tree import DecisionTree
from galaxysd.data import build, export
from galaxysd.data.build import BuildReport, build_dataset
from galaxysd.data.decode import encode_png
from galaxysd.data.duplicates import dataset_thumbnails, match
from galaxysd.data.framing import Framing
from galaxysd.data.sources import ImageSource
from galaxysd.errors import InputError
from galaxysd.io import sha256_of

TREE = DecisionTree.load("gz2")
SMOOTH = "t01_smooth_or_features_a01_smooth"


def picture(seed: int, side: int = 40) -> np.ndarray:
    """A blurred random field: unlike any other, and resize-stable."""
    coarse = np.random.default_rng(seed).integers(0, 256, (10, 10, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))


def catalogue(ids: list[str], files: list[str | None] | None = None, survey: str = "toy", **columns: object) -> Catalog:
    files = files if files is not None else [f"{name}.png" for name in ids]
    frame = pl.DataFrame({"id": ids, "file": files, **columns}, schema_overrides={"file": pl.String})
    return Catalog(complete(frame, TREE), TREE, survey)


def folder_of(path: Path, names: list[str], first_seed: int = 0) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        (path / f"{name}.png").write_bytes(encode_png(picture(first_seed + index)))
    return path


def built(tmp_path: Path, catalog: Catalog, images: Path, name: str = "dataset", **options: object) -> BuildReport:
    arguments: dict[str, object] = {"framing": Framing(size=16), "survey": "toy", **options}
    with ImageSource(images) as source:
        return build_dataset(catalog, source, out=tmp_path / name, **arguments)  # type: ignore[arg-type]


def left_behind(tmp_path: Path) -> list[str]:
    return [path.name for path in tmp_path.iterdir() if path.name.startswith((".", "dataset"))]


IDS = [f"g{index}" for index in range(30)]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "images", IDS)


def test_everything_arrives(tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "GROUP_ROWS", 4)
    monkeypatch.setattr(build, "SHARD_ROWS", 8)
    votes = tmp_path / "votes.csv"
    votes.write_text("the table")
    smooth = [0.9 if index < 12 else 0.2 for index in range(30)]
    report = built(
        tmp_path,
        catalogue(IDS, **{SMOOTH: smooth}, source_note=["x"] * 30),
        images,
        framing=Framing(crop=32, size=16),
        pixel_scale=0.2,
        seed=3,
        source_files=[votes],
    )
    info, dataset = report.info, report.dataset
    assert report.built
    assert info.shards == [f"images-{index:05d}.parquet" for index in range(4)]
    assert (info.galaxies, info.size, info.survey, info.tree_name, info.split_seed) == (30, 16, "toy", "gz2", 3)
    assert info.pixel_scale == pytest.approx(0.4)
    assert info.answers[SMOOTH] == 12
    assert sum(info.splits.values()) == 30
    assert info.sources["votes.csv"] == sha256_of(votes)
    assert dataset.ids() == IDS
    assert dataset.catalog.frame["source_note"].to_list() == ["x"] * 30
    assert report.rejected.is_empty()
    seen = list(dataset.pixels(batch=7))
    assert [len(ids) for ids, _ in seen] == [7, 7, 7, 7, 2]
    assert [name for ids, _ in seen for name in ids] == IDS
    expected = [Framing(crop=32, size=16).apply(picture(index)) for index in range(30)]
    np.testing.assert_array_equal(np.concatenate([pixels for _, pixels in seen]), expected)
    assert left_behind(tmp_path) == ["dataset"]


def test_bad_images_are_listed_with_reasons(tmp_path: Path, images: Path) -> None:
    (images / "g0.png").write_bytes(b"")
    jpeg = io.BytesIO()
    Image.fromarray(picture(1)).save(jpeg, format="JPEG")
    (images / "g1.png").write_bytes(jpeg.getvalue()[:200])
    Image.fromarray(picture(2)).convert("L").save(images / "g2.png")
    (images / "g3.png").write_bytes(encode_png(picture(3, side=20)))
    Image.new("RGB", (20_000, 2)).save(images / "g4.png")
    (images / "g5.png").unlink()
    (images / "stray.png").write_bytes(encode_png(picture(99)))
    ids = [*IDS, "unnamed", "twin"]
    files = [*(f"{name}.png" for name in IDS), None, "g7.png"]
    report = built(tmp_path, catalogue(ids, files), images, framing=Framing(crop=30, size=16), max_rejected=0.5)
    reasons = {(row["id"], row["file"]): row["reason"] for row in report.rejected.iter_rows(named=True)}
    expected = {
        ("g0", "g0.png"): "empty",
        ("g1", "g1.png"): "truncated JPEG",
        ("g2", "g2.png"): "colour mode 'L'",
        ("g3", "g3.png"): "20 x 20 pixels; the framing needs at least 30 x 30",
        ("g4", "g4.png"): "20000 x 2 pixels",
        ("g5", "g5.png"): "no image of this name",
        ("unnamed", None): "names no image",
        ("twin", "g7.png"): "already used by galaxy g7",
        (None, "stray.png"): "image without a row",
    }
    assert reasons.keys() == expected.keys()
    for key, words in expected.items():
        assert words in reasons[key]
    assert report.dataset.ids() == IDS[6:]
    assert (report.info.rejected_rows, report.info.images_without_row) == (8, 1)
    assert sum(len(ids) for ids, _ in report.dataset.pixels()) == 24


def test_too_many_bad_images(tmp_path: Path, images: Path) -> None:
    for name in IDS[:3]:
        (images / f"{name}.png").write_bytes(b"")
    with pytest.raises(
        InputError, match=r"3 of 30 galaxies have no usable image.*the first is g0 \(g0.png\): the file is"
    ):
        built(tmp_path, catalogue(IDS), images)
    assert left_behind(tmp_path) == []
    assert built(tmp_path, catalogue(IDS), images, max_rejected=0.1).info.galaxies == 27


def test_nothing_usable(tmp_path: Path, images: Path) -> None:
    with pytest.raises(InputError, match="2 of 2 galaxies have no usable image"):
        built(tmp_path, catalogue(["a", "b"]), images, max_rejected=1.0)
    assert left_behind(tmp_path) == []


def test_catalogue_of_another_survey(tmp_path: Path, images: Path) -> None:
    with pytest.raises(InputError, match="catalogue is of survey 'other'"):
        built(tmp_path, catalogue(IDS, survey="other"), images)


def test_limit(tmp_path: Path, images: Path) -> None:
    report = built(tmp_path, catalogue(IDS), images, limit=5)
    assert report.dataset.ids() == IDS[:5]
    assert report.rejected.is_empty()  # images of rows beyond the limit do have a row
    whole = built(tmp_path, catalogue(IDS), images, "whole")
    assert whole.dataset.catalog.frame["split"][:5].to_list() == report.dataset.catalog.frame["split"].to_list()
    with pytest.raises(InputError, match="limit 0"):
        built(tmp_path, catalogue(IDS), images, limit=0)


def test_same_again_is_a_no_op(tmp_path: Path, images: Path) -> None:
    first = built(tmp_path, catalogue(IDS), images)
    stamp = (first.dataset.folder / "dataset.json").stat().st_mtime_ns
    again = built(tmp_path, first.dataset.catalog.with_frame(first.dataset.catalog.frame.drop("split")), images)
    assert not again.built
    assert again.info == first.info
    assert (first.dataset.folder / "dataset.json").stat().st_mtime_ns == stamp


@pytest.mark.parametrize("change", ["seed", "framing", "votes", "images", "pixel_scale", "limit", "source_files"])
def test_folder_with_other_inputs(tmp_path: Path, images: Path, change: str) -> None:
    built(tmp_path, catalogue(IDS), images)
    votes = {SMOOTH: [0.5] * 30} if change == "votes" else {}
    if change == "images":
        (images / "g0.png").write_bytes(encode_png(picture(1234)))
    (tmp_path / "votes.csv").write_text("table")
    options: dict[str, object] = {
        "seed": {"seed": 1},
        "framing": {"framing": Framing(size=24)},
        "pixel_scale": {"pixel_scale": 0.1},
        "limit": {"limit": 29},
        "source_files": {"source_files": [tmp_path / "votes.csv"]},
    }.get(change, {})
    with pytest.raises(InputError, match="holds a dataset built from other inputs"):
        built(tmp_path, catalogue(IDS, **votes), images, **options)


def test_folder_with_other_content(tmp_path: Path, images: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="exists and is not a dataset"):
        built(tmp_path, catalogue(IDS), images)
    assert (tmp_path / "dataset" / "thesis.tex").read_text() == "precious"
    (tmp_path / "dataset" / "thesis.tex").unlink()
    assert built(tmp_path, catalogue(IDS), images).built  # an empty folder will do


@pytest.mark.parametrize("place", ["shard", "table"])
def test_disk_full(tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if place == "shard":
        monkeypatch.setattr(export.pq.ParquetWriter, "write_table", full)
    else:
        monkeypatch.setattr(build, "write_info", full)
    with pytest.raises(InputError, match="the disk is full"):
        built(tmp_path, catalogue(IDS), images)
    assert left_behind(tmp_path) == []


def test_interruption_leaves_nothing(tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "write_info", stop)
    with pytest.raises(KeyboardInterrupt):
        built(tmp_path, catalogue(IDS), images)
    assert left_behind(tmp_path) == []


def test_pixel_scale_is_unknown_where_frames_differ(tmp_path: Path, images: Path) -> None:
    (images / "g0.png").write_bytes(encode_png(picture(0, side=60)))
    assert built(tmp_path, catalogue(IDS), images, pixel_scale=0.2).info.pixel_scale is None
    cropped = built(tmp_path, catalogue(IDS), images, "cropped", pixel_scale=0.2, framing=Framing(crop=40, size=16))
    assert cropped.info.pixel_scale == pytest.approx(0.5)


def test_splits_are_handed_down_by_id_position_and_pixels(tmp_path: Path) -> None:
    names = [f"old{index}" for index in range(60)]
    folder_of(tmp_path / "one", names)
    ra = [float(index) for index in range(60)]
    one = built(tmp_path, catalogue(names, ra=ra, dec=[10.0] * 60), tmp_path / "one", "one-set", seed=1).dataset
    # the same pictures at another size, under new names, without positions
    (tmp_path / "two").mkdir()
    new = [f"new{index}" for index in range(60)]
    for index, name in enumerate(new):
        (tmp_path / "two" / f"{name}.png").write_bytes(encode_png(picture(index, side=64)))
    alone = built(tmp_path, catalogue(new), tmp_path / "two", "alone", seed=1).dataset
    two = built(tmp_path, catalogue(new), tmp_path / "two", "two-set", seed=1, like=[one]).dataset
    assert one.catalog.frame["split"].to_list() == two.catalog.frame["split"].to_list()
    assert one.catalog.frame["split"].to_list() != alone.catalog.frame["split"].to_list()
    pairs = match(*dataset_thumbnails(one), *dataset_thumbnails(two))
    assert list(zip(pairs["a"], pairs["b"], strict=True)) == list(zip(names, new, strict=True))
    # other pictures at the same positions
    folder_of(tmp_path / "three", names, first_seed=500)
    moved = catalogue([f"third{i}" for i in range(60)], [f"{n}.png" for n in names], ra=ra, dec=[10.0001] * 60)
    three = built(tmp_path, moved, tmp_path / "three", "three-set", seed=9, like=[one]).dataset
    assert match(*dataset_thumbnails(one), *dataset_thumbnails(three)).is_empty()
    assert three.catalog.frame["split"].to_list() == one.catalog.frame["split"].to_list()


def test_hugging_face_layout(tmp_path: Path, images: Path) -> None:
    dataset = built(tmp_path, catalogue(IDS), images).dataset
    schema = pl.read_parquet_schema(dataset.folder / "images-00000.parquet")
    assert schema == {"id": pl.String, "image": pl.Struct({"bytes": pl.Binary, "path": pl.String})}
    metadata = pl.read_parquet_metadata(dataset.folder / "images-00000.parquet")
    features = json.loads(metadata["huggingface"])["info"]["features"]
    assert features == {"id": {"dtype": "string", "_type": "Value"}, "image": {"_type": "Image"}}
    cell = pl.read_parquet(dataset.folder / "images-00000.parquet")["image"][0]
    assert Image.open(io.BytesIO(cell["bytes"])).size == (16, 16)
    assert cell["path"] == "g0.png"


@given(st.sets(st.integers(0, 29), min_size=1))
@settings(max_examples=10, deadline=None)
def test_hash_of_inputs_sees_every_vote(rows: set[int]) -> None:
    def hashed(values: list[float]) -> str:
        return build._hash_inputs(
            catalogue(IDS, **{SMOOTH: values}), {}, framing=Framing(), pixel_scale=None, seed=0, like=(), limit=None
        )

    assert hashed([0.5] * 30) == hashed([0.5] * 30)
    assert hashed([0.5] * 30) != hashed([0.25 if row in rows else 0.5 for row in range(30)])


def test_real_overlap_of_two_sets_is_found(galaxy_data: Path, tmp_path: Path) -> None:
    """37 galaxies are in both sets (data/README.md); all are found, nothing else is, and they share their split."""
    text = (galaxy_data / "README.md").read_text()
    start = text.index("petrosian asset_id = GalaxyID:")
    listed = text[start : text.index("##", start)].split(":", 1)[1].replace(".", " ").replace(";", " ").split()
    truth = {tuple(pair.split("=")) for pair in " ".join(listed).replace(",", " ").split() if "=" in pair}
    assert len(truth) == 37
    datasets = {}
    for name, crop, mates in (("gz_kaggle", None, 250), ("gz2_petrosian", 256, 120)):
        votes = read_votes(galaxy_data / name / "catalogue.csv.gz", tree=TREE, survey="sdss")
        column = 0 if name == "gz2_petrosian" else 1
        files = {f"{pair[column]}.jpg" for pair in truth}
        frame = votes.frame
        chosen = frame["file"].is_in(list(files)) | frame["file"].is_in(frame["file"].head(mates).to_list())
        datasets[name] = built(
            tmp_path,
            votes.filter(chosen),
            galaxy_data / name / "images.tar",
            name,
            survey="sdss",
            framing=Framing(crop=crop, size=64),
            like=list(datasets.values()),
        ).dataset
    petrosian, kaggle = datasets["gz2_petrosian"], datasets["gz_kaggle"]
    file = {}
    for dataset in (petrosian, kaggle):
        file[dataset] = {
            row[0]: row[1].removesuffix(".jpg") for row in dataset.catalog.frame.select("id", "file").iter_rows()
        }
    pairs = match(*dataset_thumbnails(petrosian), *dataset_thumbnails(kaggle))
    found = {(file[petrosian][a], file[kaggle][b]) for a, b in pairs.select("a", "b").iter_rows()}
    assert found == truth  # precision and recall 1
    split = [dict(dataset.catalog.frame.select("id", "split").iter_rows()) for dataset in (petrosian, kaggle)]
    assert all(split[0][a] == split[1][b] for a, b in pairs.select("a", "b").iter_rows())
    assert petrosian.info.rejected_rows == kaggle.info.rejected_rows == 0
