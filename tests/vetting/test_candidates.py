"""Candidates from tables that may come from anyone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from toy_search import candidates

from galaxysd.data.decode import encode_png
from galaxysd.errors import InputError
from galaxysd.vetting.candidates import Candidate, checked, read_candidates, read_search

PNG = encode_png(np.zeros((8, 8, 3), np.uint8))
ROW = {"id": "g1", "rank": 1, "score": 0.5, "spread": 0.1}


def table(path: Path, *rows: dict[str, Any]) -> Path:
    pl.DataFrame(list(rows)).write_parquet(path)
    return path


def test_a_table_of_the_search_is_read_with_pictures_and_reasons(tmp_path: Path) -> None:
    (tmp_path / "candidates").mkdir()
    (tmp_path / "candidates" / "1.png").write_bytes(PNG)
    more = {
        "nearest_generated": "generated:3",
        "generated_distance": 0.25,
        "nearest_known": None,
        "known_distance": None,
    }
    row = {**ROW, "ra": 10.0, "dec": -3.0, "image": "candidates/1.png", "why": "ignored.png", **more}
    (found,) = read_candidates(table(tmp_path / "c.parquet", row))
    assert found == Candidate(
        **ROW, ra=10.0, dec=-3.0, image=PNG, reasons=("nearest generated: generated:3, distance 0.25",)
    )


def test_hugging_face_images_csv_and_missing_positions(tmp_path: Path) -> None:
    row = {
        **ROW,
        "ra": float("nan"),
        "dec": float("nan"),
        "image": {"bytes": PNG, "path": "x.png"},
        "reasons": ["a", "b"],
    }
    (found,) = read_candidates(table(tmp_path / "c.parquet", row))
    assert (found.ra, found.dec, found.image, found.reasons) == (None, None, PNG, ("a", "b"))
    (tmp_path / "c.csv").write_text("id,rank,score,spread,reasons\n587722981741363294,1,0.5,0.1,dusty\n")
    (found,) = read_candidates(tmp_path / "c.csv")
    assert found.id == "587722981741363294" and found.reasons == ("dusty",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ra": 400.0, "dec": 0.0}, r"row 2: ra: .*less than 360.*400"),
        ({"ra": 10.0, "dec": 91.0}, r"row 2: dec: .*90"),
        ({"ra": 10.0, "dec": None}, r"row 2: .*together"),
        ({"ra": float("inf"), "dec": 0.0}, r"row 2: ra: .*finite"),
        ({"score": 1.5}, r"row 2: score"),
        ({"score": float("nan")}, r"row 2: score"),
        ({"spread": -0.1}, r"row 2: spread"),
        ({"rank": 0}, r"row 2: rank"),
        ({"id": "x" * 300}, r"row 2: id"),
        ({"id": "g\n2"}, r"row 2: id: .*printed"),
        ({"id": ""}, r"row 2: id"),
        ({"id": "g1"}, r"id 'g1' is there 2 times"),
        ({"rank": 1}, r"rank 1 is there 2 times"),
        ({"image_link": "javascript:alert(1)"}, r"row 2: image_link"),
        ({"image": "../secret.png"}, r"row 2: image '../secret.png' is not a file beside the table"),
        ({"image": "/etc/hostname"}, r"row 2: image '/etc/hostname' is not a file beside the table"),
    ],
)
def test_the_first_bad_row_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    (tmp_path / "secret.png").write_bytes(PNG)
    (tmp_path / "sub").mkdir()
    bad = {**ROW, "id": "g2", "rank": 2, **change}
    path = table(tmp_path / "sub" / "c.parquet", {**dict.fromkeys(bad), **ROW}, bad)
    with pytest.raises(InputError, match=message) as error:
        read_candidates(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_what_is_no_table_of_candidates_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.parquet: cannot be read"):
        read_candidates(tmp_path / "none.parquet")
    with pytest.raises(InputError, match="column 'score' missing"):
        read_candidates(table(tmp_path / "c.parquet", {"id": "g", "rank": 1}))
    with pytest.raises(InputError, match="holds no candidates"):
        checked([], "nothing")


def test_the_search_behind_a_table(tmp_path: Path) -> None:
    path = tmp_path / "candidates.parquet"
    done = {"target": "ring galaxy", "round": 2, "survey": "/data/efigi", "images": 10, "broken": 1}
    (tmp_path / "done.json").write_text(json.dumps(done))
    pl.DataFrame([ROW]).write_parquet(path, metadata={"galaxysd": json.dumps({"survey": "abc", "seed": 1})})
    search = read_search(path)
    assert (search.name, search.survey, search.survey_hash, search.galaxies) == (
        "ring galaxy, round 2",
        "efigi",
        "abc",
        9,
    )
    pl.DataFrame([ROW]).write_parquet(path, metadata={"galaxysd": json.dumps({"survey": "abc", "seed": 2})})
    assert read_search(path, name="mine").name == "mine" and read_search(path).model_hash != search.model_hash
    with pytest.raises(InputError, match="is not a round of `galaxysd discover`"):
        read_search(table(path, ROW))


def test_candidates_of_a_store_are_candidates() -> None:
    assert checked(candidates(3), "toy") == candidates(3)
