"""Scoring: restartable, the same on every engine, and broken images counted."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from galaxysd.data.framing import Framing
from galaxysd.errors import InputError
from galaxysd.search import survey as module
from galaxysd.search.candidates import top
from galaxysd.search.score import Ranker, broken_images, scan_scores, score_survey
from galaxysd.search.survey import Survey


def brightness(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A ranker for whom the target is bright."""
    return images.mean(axis=(1, 2, 3)) / 255, images.std(axis=(1, 2, 3)) / 255


@pytest.fixture
def survey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Survey:
    """Eleven images in four chunks; g4 is broken, brighter ones have higher numbers."""
    monkeypatch.setattr(module, "CHUNK", 3)
    (tmp_path / "images").mkdir()
    for number in range(11):
        Image.new("RGB", (8, 8), (20 * number, 0, 0)).save(tmp_path / "images" / f"g{number:02d}.png")
    (tmp_path / "images" / "g04.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return Survey.open(tmp_path / "images", framing=Framing(size=8))


def test_scores_and_broken_images(survey: Survey, tmp_path: Path) -> None:
    report = score_survey(survey, brightness, tmp_path / "scores")
    assert (report.images, report.broken, report.resumed) == (11, 1, 0)
    assert broken_images(tmp_path / "scores")["id"].to_list() == ["g04"]
    assert top(tmp_path / "scores", 3, exclude={"g09"})["id"].to_list() == ["g10", "g08", "g07"]
    better = pl.DataFrame({"id": ["g01", "g10"], "score": [0.99, 0.0], "spread": [0.0, 0.0]})
    ranked = top(tmp_path / "scores", 20, better=better)
    assert ranked["id"][0] == "g01" and ranked["id"].to_list()[-2:] == ["g00", "g10"] and len(ranked) == 10


def test_what_is_scored_is_not_scored_again(survey: Survey, tmp_path: Path) -> None:
    def fails_after_two() -> Ranker:
        calls = []

        def ranker(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            calls.append(len(images))
            if len(calls) > 2:
                raise KeyboardInterrupt
            return brightness(images)

        return ranker

    whole = tmp_path / "whole"
    score_survey(survey, brightness, whole)
    with pytest.raises(KeyboardInterrupt):
        score_survey(survey, fails_after_two(), tmp_path / "scores")
    assert sorted(path.name for path in (tmp_path / "scores").iterdir()) == [
        "part-000000.parquet",
        "part-000001.parquet",
    ]
    assert score_survey(survey, brightness, tmp_path / "scores").resumed == 6
    assert scan_scores(tmp_path / "scores").collect().equals(scan_scores(whole).collect())
    assert score_survey(survey, fails_after_two(), tmp_path / "scores").resumed == 11


def test_an_unknown_engine(survey: Survey, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="engine 'spark': expected one of process, ray"):
        score_survey(survey, brightness, tmp_path / "scores", engine="spark")  # type: ignore[arg-type]
