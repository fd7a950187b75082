"""A vetted search becomes a folder that others can use."""

import io
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from astropy.io import votable
from astropy.table import Table
from PIL import Image
from toy_search import SEARCH, candidates

from galaxysd.errors import InputError
from galaxysd.io import sha256_of
from galaxysd.vetting.publish import PublishSettings, publish, read_report, sexagesimal
from galaxysd.vetting.store import VettingStore

Vote = Callable[..., None]


@pytest.fixture
def vetted(store: VettingStore, vote: Vote) -> VettingStore:
    """All 12 are vetted: 1 to 5 yes, 6 unsure, the others no."""
    for rank in range(1, 13):
        answers = {"yes": 2, "no": 1} if rank <= 5 else {"unsure": 1} if rank == 6 else {"no": 1}
        vote(store, f"g{rank:04d}", **answers)
    return store


def test_the_tables_hold_what_was_vetted(vetted: VettingStore, tmp_path: Path) -> None:
    known = tmp_path / "known.csv"
    known.write_text("name,ra,dec\nNGC 1,2.0003,-5\n")
    report = publish(vetted, "lanes", tmp_path / "out", known=[known])
    frame = pl.read_parquet(tmp_path / "out" / "catalogue.parquet")
    assert frame["id"].to_list() == [f"g{rank:04d}" for rank in range(1, 6)]
    assert frame.select("votes_yes", "votes_no", "votes_unsure", "verdict").unique().rows() == [(2, 1, 0, "yes")]
    assert frame["known"].to_list() == ["new", "known", "new", "new", "new"] and frame["known_id"][1] == "NGC 1"
    assert frame["model_hash"].unique().to_list() == [SEARCH.model_hash]
    assert frame["score"].to_list() == [one.score for one in candidates(5)]
    assert frame["yes_low"][0] < frame["yes_share"][0] < frame["yes_high"][0]
    with_fits = Table.read(tmp_path / "out" / "catalogue.fits")
    assert list(with_fits["id"]) == frame["id"].to_list() and list(with_fits["ra"]) == frame["ra"].to_list()
    text = io.StringIO()
    assert votable.validate(tmp_path / "out" / "catalogue.vot", output=text), text.getvalue()
    assert report.verdicts == {"no": 6, "unsure": 1, "yes": 5} and report.known == {"known": 1, "new": 4}
    assert report.voters == 3 and report.galaxies == 5 and report.candidates == 12
    assert report.lists == {"known.csv": sha256_of(known)} and report.without_picture == 0
    assert report.files["catalogue.fits"] == sha256_of(tmp_path / "out" / "catalogue.fits")
    assert report.estimate.targets is not None and report.estimate.targets.low == 5
    assert read_report(tmp_path / "out") == report


def test_pictures_are_those_of_the_galaxies(vetted: VettingStore, tmp_path: Path) -> None:
    publish(vetted, "lanes", tmp_path / "out")
    frame = pl.read_parquet(tmp_path / "out" / "catalogue.parquet")
    for rank, link in frame.select("rank", "image").iter_rows():
        with Image.open(tmp_path / "out" / link) as picture:
            assert (np.asarray(picture) == 40 + rank).all()


def test_the_readme_says_where_all_comes_from(vetted: VettingStore, tmp_path: Path) -> None:
    settings = PublishSettings(title="Dusty ones", authors="Lovelace, A.", verdicts=("yes", "unsure"))
    report = publish(vetted, "lanes", tmp_path / "out", settings=settings)
    text = (tmp_path / "out" / "README.md").read_text()
    said = [SEARCH.model_hash, SEARCH.survey_hash, SEARCH.target, report.votes_hash, "Lovelace, A.", "# Dusty ones"]
    assert all(one in text for one in [*said, *report.files.values()])
    assert "6 no, 1 unsure, 5 yes" in text and "| `ra` | deg | pos.eq.ra;meta.main |" in text
    assert report.galaxies == 6


class Tags(HTMLParser):
    """Names of all tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)


def test_the_page_shows_every_galaxy_and_escapes_what_people_wrote(store: VettingStore, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    many = [one.model_copy(update={"id": f"{evil}{one.rank}"}) for one in candidates(30, images=True)]
    store.add_candidates(SEARCH.model_copy(update={"name": "evil", "target": evil}), many)
    for one in many:
        store.cast_vote("evil", one.id, evil, "yes", evil)
    publish(store, "evil", tmp_path / "out", settings=PublishSettings(title=evil))
    page = (tmp_path / "out" / "charts.html").read_text()
    tags = Tags(page).found
    assert "script" not in tags and tags.count("img") == 2  # charts of 24 and 6
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;30<") == 1
    assert "00:04:00.00 -05:00:00.0" in page


def test_a_broken_picture_stops_nothing(tmp_path: Path) -> None:
    with VettingStore.open(tmp_path / "votes.db") as store:
        odd = [
            {"image": b"not a picture"},
            {"image": None, "image_link": "https://example.org/2.jpg"},
            {"ra": None, "dec": None},
        ]
        put = [one.model_copy(update=change) for one, change in zip(candidates(3, images=True), odd, strict=True)]
        store.add_candidates(SEARCH, put)
        for one in put:
            store.cast_vote("lanes", one.id, "ada", "yes")
        report = publish(store, "lanes", tmp_path / "out")
    frame = pl.read_parquet(tmp_path / "out" / "catalogue.parquet")
    assert frame["image"].to_list() == ["", "https://example.org/2.jpg", "images/000003.png"]
    assert report.without_picture == 1 and frame["ra"].to_list() == [1.0, 2.0, None]
    assert Table.read(tmp_path / "out" / "catalogue.fits")["ra"].mask.tolist() == [False, False, True]


def test_bad_requests_leave_nothing(vetted: VettingStore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has the verdict unvetted; vet candidates first"):
        publish(vetted, "lanes", tmp_path / "out", settings=PublishSettings(verdicts=("unvetted",)))
    with pytest.raises(InputError, match="no such file"):
        publish(vetted, "lanes", tmp_path / "out", known=[tmp_path / "none.csv"])
    with pytest.raises(InputError, match="the same file name"):
        publish(vetted, "lanes", tmp_path / "out", known=[tmp_path / "a" / "known.csv", tmp_path / "known.csv"])
    with pytest.raises(InputError, match="no search 'arcs'"):
        publish(vetted, "arcs", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    publish(vetted, "lanes", tmp_path / "out")
    with pytest.raises(InputError, match="never overwritten"):
        publish(vetted, "lanes", tmp_path / "out")
    with pytest.raises(InputError, match="cannot be read"):
        read_report(tmp_path)


def test_positions_in_words_of_the_sky() -> None:
    assert sexagesimal(187.70593, 12.39112) == "12:30:49.42 +12:23:28.0"
    assert sexagesimal(0.0, -0.5) == "00:00:00.00 -00:30:00.0"
    assert sexagesimal(None, None) == "-"
