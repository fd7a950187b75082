"""Images of any generator: what tells their conditions, sizes that differ, bad files."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from galaxysd.catalog.tree import DecisionTree
from galaxysd.data.decode import encode_png
from galaxysd.data.framing import Framing
from galaxysd.errors import InputError
from galaxysd.evaluation.external_images import ExternalImages, ExternalSample
from galaxysd.prompts import Morphology

TREE = DecisionTree.load("gz2")
SMOOTH = TREE.questions[0].columns


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for index in range(30):
        shape = (16, 16, 3) if index else (24, 40, 3)
        image = rng.integers(0, 256, shape).astype(np.uint8)
        (tmp_path / "images" / f"{index:02}.png").write_bytes(encode_png(image))
    return tmp_path / "images"


def read(path: Path, n: int = 100) -> ExternalSample:
    return ExternalImages(path).read(n, TREE, ("sdss",), size=16, seed=0)


def test_a_plain_folder_knows_of_no_request_and_one_rule_makes_sizes_equal(folder: Path) -> None:
    found = read(folder)
    assert not found.told and not found.sample.known.any() and found.sample.images.shape == (30, 16, 16, 3)
    wide = np.random.default_rng(0).integers(0, 256, (24, 40, 3)).astype(np.uint8)
    assert np.array_equal(found.sample.images[0], Framing(size=16).apply(wide))


def test_some_of_many_are_drawn_by_seed(folder: Path) -> None:
    first, again = read(folder, 7).sample.images, read(folder, 7).sample.images
    other = ExternalImages(folder).read(7, TREE, ("sdss",), size=16, seed=1).sample.images
    assert len(first) == 7 and np.array_equal(first, again) and not np.array_equal(first, other)


def test_answers_morphology_and_prompt_are_read_in_this_order(folder: Path) -> None:
    files = [f"{index:02}.png" for index in (3, 1)]
    morphology = Morphology(survey="sdss", fractions=dict(zip(SMOOTH, (0.2, 0.7, 0.1), strict=True)))
    table = pl.DataFrame({"file": files, "prompt": ["sdss, smooth galaxy", "galaxy"]})
    table.write_csv(folder / "table.csv")
    told = read(folder / "table.csv")
    assert told.told and told.sample.fractions[:, 0].tolist() == [1, 0] and told.sample.known[:, 0].tolist() == [1, 0]
    table = table.with_columns(morphology=pl.lit(morphology.model_dump_json()))
    table.write_parquet(folder / "manifest.parquet")
    found = read(folder).sample
    assert found.fractions[:, :3] == pytest.approx(np.array([[0.2, 0.7, 0.1]] * 2))
    assert found.survey.tolist() == [0, 0]
    columns = {name: pl.Series([value, None]) for name, value in zip(SMOOTH, (0.9, 0.1, 0.0), strict=True)}
    table.with_columns(**columns).write_parquet(folder / "manifest.parquet")
    found = read(folder).sample
    assert found.fractions[0, :3] == pytest.approx([0.9, 0.1, 0]) and found.known[:, 0].tolist() == [True, False]
    third, first = (ExternalImages(folder / "table.csv")._source.read(name) for name in files)
    assert third != first and len(found.images) == 2  # files without a row are left alone


def test_bad_images_are_counted_and_listed_and_too_many_are_refused(folder: Path) -> None:
    (folder / "05.png").write_bytes(b"rubbish")
    found = read(folder)
    assert len(found.sample) == 29 and found.rejected["file"].to_list() == ["05.png"]
    assert "unknown format" in found.rejected["reason"][0]
    (folder / "06.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"2 of 30 images cannot be used.* the first is 05\.png: unknown format"):
        read(folder)


def test_the_hash_follows_images_and_table(folder: Path) -> None:
    before = ExternalImages(folder).hash
    pl.DataFrame({"file": ["00.png"]}).write_parquet(folder / "manifest.parquet")
    assert ExternalImages(folder).hash != before == before


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"name": ["00.png"]}, "no column 'file'"),
        ({"file": [None], "prompt": ["galaxy"]}, "row 1: no file is named"),
        ({"file": ["00.png"], "morphology": ["{"]}, "00.png: the morphology is not valid JSON"),
        ({"file": ["00.png"], "prompt": ["smoth galaxy"]}, "00.png: .*smoth"),
        ({"file": ["00.png"], SMOOTH[0]: ["much"]}, "00.png: .* is 'much'; expected a fraction"),
        ({"file": ["00.png"], SMOOTH[0]: ["0.5"]}, "lacks"),
        ({"file": ["00.png"], "morphology": ['{"survey": "euclid"}']}, "survey 'euclid' is not among those"),
        ({"file": ["nowhere.png"], "prompt": ["galaxy"]}, "1 of 1 images cannot be used"),
    ],
)
def test_a_table_that_makes_no_sense_is_one_line(folder: Path, columns: dict[str, list[str]], message: str) -> None:
    pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String)).write_parquet(folder / "manifest.parquet")
    with pytest.raises(InputError, match=message) as caught:
        read(folder)
    assert "\n" not in str(caught.value)


def test_nothing_to_judge_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no images"):
        ExternalImages(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        ExternalImages(tmp_path / "nowhere")
