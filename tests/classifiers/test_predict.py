"""Tables of predictions: the same numbers as the classifier's, in batches, with what cannot be read listed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from galaxysd.catalog.tree import DecisionTree
from galaxysd.classifiers.checkpoint import ClassifierRecord
from galaxysd.classifiers.network import ClassifierNetwork, make_network
from galaxysd.classifiers.predict import Ensemble, load_predictor, predict_table
from galaxysd.classifiers.train import ClassifierSettings, GalaxyClassifier, train_classifier
from galaxysd.classifiers.votes import VoteClassifier
from galaxysd.data.dataset import Dataset
from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.errors import InputError

NAMES = ("disc", "bar", "ring")


@pytest.fixture(scope="module")
def members(
    shapes: Callable[..., GalaxySet], tiny: ClassifierSettings, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    folder = tmp_path_factory.mktemp("members")
    short = tiny.model_copy(update={"images": 320})
    for seed in (0, 1):
        train_classifier(shapes(100), shapes(20, seed=1), NAMES, folder / str(seed), short, seed)
    return [folder / "0" / "model", folder / "1" / "model"]


@pytest.fixture(scope="module")
def pictures(shapes: Callable[..., GalaxySet], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for index, image in enumerate(shapes(30, seed=7).images):
        Image.fromarray(image).save(folder / f"g{index:02d}.png")
    return folder


def test_an_ensemble_is_the_mean_of_its_members(members: list[Path], shapes: Callable[..., GalaxySet]) -> None:
    single = [GalaxyClassifier.load(member) for member in members]
    pixels = shapes(20, seed=3).images
    each = np.stack([one.probabilities(pixels) for one in single])
    mean, spread = Ensemble(single).predict(pixels)
    assert np.allclose(mean, each.mean(axis=0)) and np.allclose(spread, np.abs(each[0] - each[1]) / 2)
    assert (Ensemble(single[:1]).predict(pixels)[1] == 0).all()


def test_the_table_of_plain_images(
    members: list[Path], pictures: Path, shapes: Callable[..., GalaxySet], tmp_path: Path
) -> None:
    report = predict_table(pictures, members, tmp_path / "table.parquet")
    table = pl.read_parquet(report.file)
    assert table.columns == ["id", "split", "class", *(f"{kind}_{name}" for kind in ("p", "spread") for name in NAMES)]
    assert table["id"].to_list() == [f"g{index:02d}" for index in range(30)] and table["split"].null_count() == 30
    mean, spread = load_predictor(members).predict(shapes(30, seed=7).images)
    assert np.allclose(table.select("^p_.*$").to_numpy(), mean, atol=1e-6)
    assert np.allclose(table.select("^spread_.*$").to_numpy(), spread, atol=1e-6)
    assert table["class"].to_list() == [NAMES[index] for index in mean.argmax(axis=1)]
    assert report.galaxies == sum(report.counts.values()) == 30 and report.rejected == 0
    again = predict_table(pictures, members, tmp_path / "table.parquet")
    assert again.already_done and again.counts == report.counts
    with pytest.raises(InputError, match="holds something else"):
        predict_table(pictures, members[:1], tmp_path / "table.parquet")
    with pytest.raises(InputError, match="holds something else"):
        predict_table(pictures, members, tmp_path / "table.parquet", orientations=1)


def test_a_dataset_keeps_its_splits(members: list[Path], toy: Path, tmp_path: Path) -> None:
    predict_table(toy, members[:1], tmp_path / "toy.parquet", orientations=1, limit=50)
    table = pl.read_parquet(tmp_path / "toy.parquet")
    dataset = Dataset.open(toy)
    assert table.select("id", "split").equals(dataset.catalog.frame.select("id", "split").head(50))


def test_images_that_cannot_be_read_are_listed_and_too_many_refused(
    members: list[Path], pictures: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for path in pictures.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "bad.png").write_bytes(b"not an image")
    report = predict_table(folder, members[:1], tmp_path / "table.parquet", orientations=1)
    assert report.galaxies == 30 and report.rejected == 1
    assert pl.read_parquet(tmp_path / "table.rejected.parquet")["id"].to_list() == ["bad"]
    with pytest.raises(InputError, match=r"1 of 31 images cannot be used.*the first is bad"):
        predict_table(folder, members[:1], tmp_path / "other.parquet", max_rejected=0.01)
    assert not (tmp_path / "other.parquet").exists()


def test_bad_requests(members: list[Path], pictures: Path, toy: Path, tmp_path: Path) -> None:
    cases: list[tuple[str, Path, list[Path], str]] = [
        ("end in .parquet", pictures, members, "table.csv"),
        ("name the folder of a classifier", pictures, [], "table.parquet"),
        ("no such folder", pictures, [tmp_path / "nothing"], "table.parquet"),
        ("no such folder or tar", tmp_path / "nothing", members, "table.parquet"),
    ]
    for said, images, classifiers, out in cases:
        with pytest.raises(InputError, match=said):
            predict_table(images, classifiers, tmp_path / out)
    with pytest.raises(InputError, match="limit 0"):
        predict_table(pictures, members, tmp_path / "table.parquet", limit=0)
    torch.manual_seed(0)
    record = ClassifierRecord(
        target="classes", network=ClassifierNetwork(widths=(8,), depths=(1,)), outputs=NAMES, size=32
    )
    other = GalaxyClassifier(make_network(record.network, 3).eval(), record).save(tmp_path / "other")
    with pytest.raises(InputError, match="images of 16 px, but the classifier was trained at 32 px"):
        predict_table(toy, [other], tmp_path / "table.parquet")
    with pytest.raises(InputError, match="different classes or image sizes"):
        load_predictor([*members, other])


def test_votes_as_a_table(members: list[Path], toy: Path, tmp_path: Path) -> None:
    tree = DecisionTree.load("gz2")
    network = ClassifierNetwork(widths=(8, 8), depths=(1, 1))
    record = ClassifierRecord(target="votes", network=network, outputs=tree.columns, size=16, tree=tree)
    folders = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        made = VoteClassifier(make_network(network, len(tree.columns)).eval(), record)
        folders.append(made.save(tmp_path / f"votes-{seed}"))
    report = predict_table(toy, folders, tmp_path / "votes.parquet", limit=20)
    table = pl.read_parquet(report.file)
    assert table.columns[:3] == ["id", "split", tree.columns[0]] and report.counts == {}
    fractions = table.select(tree.columns).to_numpy()
    for place in tree.slices:
        assert np.allclose(fractions[:, place].sum(axis=1), 1, atol=1e-5)
    assert (table.select("^spread_.*$").to_numpy() > 0).all()
    with pytest.raises(InputError, match="do not mix"):
        load_predictor([folders[0], members[0]])
