"""Every kind of survey gives the same galaxies, chunk by chunk; broken images are listed and stop nothing."""

import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from toy_survey import toy_dataset

from galaxysd.data.export import parquet_images
from galaxysd.data.framing import Framing
from galaxysd.errors import InputError
from galaxysd.search import survey as module
from galaxysd.search.survey import Survey, read_chunk

SIDE = 16
FRAMING = Framing(size=SIDE)


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, np.ndarray]:
    """Ten images as a folder, a tar and two Parquet files."""
    rng = np.random.default_rng(0)
    made = {f"g{number}": rng.integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8) for number in range(10)}
    (tmp_path / "folder").mkdir()
    for name, image in made.items():
        Image.fromarray(image).save(tmp_path / "folder" / f"{name}.png")
    with tarfile.open(tmp_path / "images.tar", "w") as tar:
        tar.add(tmp_path / "folder", arcname="")
    names = list(made)
    for part, group in enumerate((names[:6], names[6:])):
        with parquet_images(tmp_path / f"{part}.parquet") as file:
            for start in range(0, len(group), 2):
                file.write(group[start : start + 2], [made[name] for name in group[start : start + 2]])
    return made


def seen(survey: Survey) -> dict[str, np.ndarray]:
    return {
        name: image
        for chunk in survey.chunks
        for shown in read_chunk(chunk, survey.framing)
        for name, image in zip(shown.ids, shown.pixels, strict=True)
    }


@pytest.mark.parametrize("source", [["folder"], ["images.tar"], ["0.parquet", "1.parquet"]])
def test_every_source_gives_the_same(
    pictures: dict[str, np.ndarray], tmp_path: Path, source: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 4)
    survey = Survey.open([tmp_path / name for name in source], framing=FRAMING)
    found = seen(survey)
    assert len(survey) == len(found) == 10 and len(survey.chunks) >= 3
    assert all(np.array_equal(found[name], image) for name, image in pictures.items())
    assert [name for _, names in survey.ids() for name in names] == list(found)
    wanted = survey.pixels(["g7", "g2"])
    assert set(wanted) == {"g2", "g7"} and np.array_equal(wanted["g7"], pictures["g7"])
    ids, images = survey.sample(5, seed=1, without=frozenset({"g0", "g1"}))
    assert len(set(ids)) == 5 and not {"g0", "g1"} & set(ids) and images.shape == (5, SIDE, SIDE, 3)
    assert survey.sample(5, seed=1, without=frozenset({"g0", "g1"}))[0] == ids
    assert len(Survey.open([tmp_path / name for name in source], framing=FRAMING, limit=5)) in (6, 8)


def test_a_dataset_brings_its_positions(tmp_path: Path) -> None:
    folder = toy_dataset(tmp_path, n=12)
    survey = Survey.open(folder)
    found = seen(survey)
    assert survey.token == "sdss" and len(found) == 12 and set(survey.positions()) == set(found)
    with pytest.raises(InputError, match="its own framing"):
        Survey.open(folder, framing=FRAMING)


def test_broken_images_are_listed(pictures: dict[str, np.ndarray], tmp_path: Path) -> None:
    (tmp_path / "folder" / "g3.png").write_bytes(b"not a picture")
    whole = (tmp_path / "folder" / "g4.png").read_bytes()
    (tmp_path / "folder" / "g4.png").write_bytes(whole[: len(whole) // 2])
    survey = Survey.open(tmp_path / "folder", framing=FRAMING)
    (shown,) = read_chunk(survey.chunks[0], FRAMING)
    assert [name for name, _ in shown.broken] == ["g3", "g4"] and len(shown.ids) == 8
    table = pa.table({"image": [b"", None, whole]})
    pq.write_table(table, tmp_path / "bare.parquet")
    (shown,) = read_chunk(Survey.open(tmp_path / "bare.parquet", framing=FRAMING).chunks[0], FRAMING)
    assert shown.ids == ["bare:2"] and [reason for _, reason in shown.broken][1] == "the row holds no image bytes"


def test_what_is_no_survey_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no images"):
        Survey.open(tmp_path / "empty")
    with pytest.raises(InputError, match=r"no such Parquet file"):
        Survey.open(tmp_path / "absent.parquet")
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(InputError, match="no column 'image'"):
        Survey.open(tmp_path / "other.parquet")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        Survey.open(tmp_path / "torn.parquet")
    with pytest.raises(InputError, match="must all be Parquet"):
        Survey.open([tmp_path / "other.parquet", tmp_path / "empty"])
