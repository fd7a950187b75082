"""A whole search of a toy survey with a tiny generator: two rounds, resumed, refused, explained."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image
from tiny_model import save_tiny_model
from toy_survey import toy_dataset

from galaxysd.data.decode import decode
from galaxysd.encoders.registry import load_encoder
from galaxysd.errors import InputError
from galaxysd.search.discover import DiscoverReport, DiscoverSettings, discover
from galaxysd.vetting.candidates import read_candidates, read_search

SETTINGS = DiscoverSettings(
    generated=50,
    hard_negatives=50,
    background=50,
    unlabelled=72,
    members=3,
    candidates=12,
    mapped=3,
)
TARGET = "early-type galaxy, {dust lane:1.3}"


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("discover")
    save_tiny_model(folder / "model")
    survey = toy_dataset(folder, n=90)
    ids = pl.read_parquet(survey / "catalog.parquet")["id"].to_list()
    pl.DataFrame({"id": ids[:3]}).write_csv(folder / "positives.csv")
    pl.DataFrame({"id": ids[3:6]}).write_csv(folder / "known.csv")
    return {"survey": survey, "model": folder / "model", "folder": folder, "out": folder / "search"}


def search(places: dict[str, Path], **options: Any) -> DiscoverReport:
    asked = {
        "model": places["model"],
        "encoder": load_encoder("pixels"),
        "positives": places["folder"] / "positives.csv",
        "exclude": places["folder"] / "known.csv",
        "settings": SETTINGS,
        **options,
    }
    return discover(asked.pop("survey", places["survey"]), asked.pop("target", TARGET), places["out"], **asked)


@pytest.fixture(scope="module")
def first(places: dict[str, Path]) -> DiscoverReport:
    return search(places)


def test_candidates_come_with_reasons(places: dict[str, Path], first: DiscoverReport) -> None:
    table = pl.read_parquet(first.candidates)
    ids = pl.read_parquet(places["survey"] / "catalog.parquet")["id"].to_list()
    assert table["rank"].to_list() == list(range(1, 13)) and not set(table["id"]) & set(ids[:6])
    assert table["score"].is_sorted(descending=True) and table["score"].is_between(0, 1).all()
    assert table["nearest_generated"].str.starts_with("generated:").all()
    assert set(table["nearest_known"]) <= {f"sdss:{name}" for name in ids[:3]}
    assert table["ra"].null_count() == 0 and table["why"].null_count() == 9
    folder = Path(first.out)
    for column in ("image", "why"):
        assert decode((folder / table[column][0]).read_bytes(), "candidate").shape == (16, 16, 3)
    assert first.examples["known"] == 3 and first.images == 90 and first.broken == 0
    assert first.search_target.rarest.endswith("dust_lane") and first.domain_leak.area.n == 10
    assert any("dust lane" in text for text in first.warnings)
    page = Path(first.page).read_text()
    assert page.count("data:image/png") == 4 and table["id"][0] in page and "nearest seen combination" in page


def test_the_store_of_votes_reads_a_round(first: DiscoverReport) -> None:
    candidates = read_candidates(first.candidates)
    assert len(candidates) == 12 and candidates[0].image is not None
    assert read_search(first.candidates).galaxies == 90


def test_the_same_search_is_resumed_and_not_made_twice(places: dict[str, Path], first: DiscoverReport) -> None:
    assert search(places) == first.model_copy(update={"already_done": True})
    folder, before = Path(first.out), pl.read_parquet(first.candidates)
    part = folder / "scores" / "part-000000.parquet"
    scores = pl.read_parquet(part)
    (folder / "done.json").unlink()
    part.unlink()
    again = search(places)
    assert pl.read_parquet(part).equals(scores)
    assert pl.read_parquet(again.candidates).equals(before)
    with pytest.raises(InputError, match=r"other settings .*seed"):
        search(places, seed=1)


def test_answers_go_back_into_training(places: dict[str, Path], first: DiscoverReport) -> None:
    best = pl.read_parquet(first.candidates)["id"].to_list()[:4]
    answers = places["folder"] / "answers.csv"
    answers.write_text("id,answer\n" + "".join(f"{name},{word}\n" for name, word in zip(best, "101", strict=False)))
    with pytest.raises(InputError, match="round 2 is not finished"):
        search(places, round=3)
    second = search(places, round=2, answers=answers)
    assert second.examples["vetted"] == 2 and second.examples["refused"] == 1
    found = set(pl.read_parquet(second.candidates)["id"])
    assert not found & set(best[:3])
    assert json.loads((places["out"] / "round-2" / "done.json").read_text())["round"] == 2


def test_bad_input(places: dict[str, Path], tmp_path: Path) -> None:
    fresh = {**places, "out": tmp_path / "search"}
    with pytest.raises(InputError, match="unknown word"):
        search(fresh, target="early-type galaxy with a handle")
    with pytest.raises(InputError, match="answers: they belong to round 2"):
        search(fresh, answers=places["folder"] / "positives.csv")
    with pytest.raises(InputError, match="round 1 is not finished"):
        search(fresh, round=2)
    pl.DataFrame({"id": ["nobody"]}).write_csv(tmp_path / "nobody.csv")
    with pytest.raises(InputError, match="none of its 1 galaxies"):
        search(fresh, positives=tmp_path / "nobody.csv")
    (tmp_path / "images").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "images" / "a.png")
    with pytest.raises(InputError, match="makes 16 px"):
        search(fresh, survey=tmp_path / "images", positives=None, exclude=None)
    assert not fresh["out"].exists()
