"""Labelled galaxies come from datasets by rules or from a table, and are cut and joined without mix-up."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from galaxysd.classifiers.class_rules import ClassRules, label
from galaxysd.classifiers.labels import labelled_examples, read_labels
from galaxysd.data.dataset import Dataset
from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.errors import InputError

GZ2 = ClassRules.load("gz2")


def test_taking_and_joining_keep_rows_together(shapes: Callable[..., GalaxySet]) -> None:
    real, synthetic = shapes(6, seed=1), shapes(4, seed=2, synthetic=True)
    both = GalaxySet.join(real, synthetic)
    assert len(both) == 10 and both.synthetic.tolist() == [False] * 6 + [True] * 4
    back = both.subset([9, 0])
    assert back.ids == (synthetic.ids[3], real.ids[0])
    assert np.array_equal(back.images, np.stack([synthetic.images[3], real.images[0]]))
    assert back.labels.tolist() == [synthetic.labels[3], real.labels[0]] and np.isnan(back.ra[0])
    assert both.subset(both.synthetic).ids == synthetic.ids
    assert both.counts(5).tolist() == np.bincount(both.labels, minlength=5).tolist()
    with pytest.raises(InputError, match="different sizes"):
        GalaxySet.join(real, GalaxySet(real.images[:, :8, :8], real.ids))
    with pytest.raises(ValueError, match="different lengths"):
        GalaxySet(real.images[1:], real.ids)


def test_labelled_galaxies_of_a_split(toy: Path) -> None:
    dataset = Dataset.open(toy)
    labels = dict(zip(dataset.ids(), label(dataset.catalog, GZ2).tolist(), strict=True))
    found = {split: labelled_examples([dataset], split, GZ2) for split in ("train", "test")}
    names = {name.removeprefix("toy:") for one in found.values() for name in one.ids}
    assert len(names) == sum(map(len, found.values())) > 40
    for split, one in found.items():
        assert {name.removeprefix("toy:") for name in one.ids} <= set(dataset.ids(split))
        assert all(labels[name.removeprefix("toy:")] == own for name, own in zip(one.ids, one.labels, strict=True))
        assert not one.synthetic.any()
    wanted = [name.removeprefix("toy:") for name in found["test"].ids]
    images = np.concatenate([part for _, part in dataset.pixels(wanted)])
    assert np.array_equal(found["test"].images, images)
    assert len(labelled_examples([dataset], "train", GZ2, limit=5)) == 5


def test_what_cannot_be_labelled(toy: Path) -> None:
    dataset = Dataset.open(toy)
    with pytest.raises(InputError, match="split 'tset'"):
        labelled_examples([dataset], "tset", GZ2)
    with pytest.raises(InputError, match="no galaxy of split 'train' meets a condition of the rules 'efigi_bar'"):
        labelled_examples([dataset], "train", ClassRules.load("efigi_bar"))
    with pytest.raises(InputError, match="no dataset"):
        labelled_examples([], "train", GZ2)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for index in range(4):
        Image.new("RGB", (20, 24), (40 * index, 10, 10)).save(folder / f"g{index}.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    return folder


def own(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_own_labels(pictures: Path, tmp_path: Path) -> None:
    path = own(tmp_path, "file,class,note\ng2.png,spiral,x\ng0.png, round ,y\ng1.png,spiral,\n")
    found, classes = read_labels(path, pictures, 8)
    assert classes == ("round", "spiral") and found.labels.tolist() == [1, 0, 1]
    assert found.ids == ("own:g2", "own:g0", "own:g1") and np.isnan(found.ra).all()
    assert found.images.shape == (3, 8, 8, 3) and found.images[:, 0, 0, 0].tolist() == [80, 0, 40]
    _, classes = read_labels(path, pictures, 8, classes=("spiral", "round", "ring"))
    assert classes == ("spiral", "round", "ring")


def test_own_labels_as_parquet_with_positions(pictures: Path, tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    rows = {"file": ["g0.png", "g1.png"], "class": ["a", "b"], "ra": [10.5, None], "dec": [-3.0, None]}
    pl.DataFrame(rows).write_parquet(path)
    found, _ = read_labels(path, pictures, 8)
    assert found.ra[0] == 10.5 and found.dec[0] == -3.0 and np.isnan(found.ra[1])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,klass\ng0.png,a\n", "has no column 'class'"),
        ("file,class\n", "has no rows"),
        ("file,class\ng0.png,a\ng1.png,\n", "row 3: no class"),
        ("file,class\ng0.png,a\ng1.png,NaN\n", "row 3: no class"),
        ("file,class\n,a\ng1.png,b\n", "row 2: no file"),
        ("file,class\ng0.png,a\ng1.png,b\ng0.png,b\n", "row 4: g0.png is there more than once"),
        ("file,class\ng0.png,a\ng1.png,a\n", "every row is of class 'a'"),
        ("file,class\ng0.png,a\ng9.png,b\n", "row 3: g9.png: no image of this name"),
        ("file,class\ng0.png,a\nbroken.png,b\n", "row 3: broken.png"),
    ],
)
def test_bad_own_labels_are_named(pictures: Path, tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        read_labels(own(tmp_path, text), pictures, 8)
    assert "\n" not in str(caught.value)


def test_an_unknown_class_is_named(pictures: Path, tmp_path: Path) -> None:
    path = own(tmp_path, "file,class\ng0.png,round\ng1.png,sprial\n")
    with pytest.raises(InputError, match="row 3: class 'sprial' is not one of round, spiral"):
        read_labels(path, pictures, 8, classes=("round", "spiral"))
