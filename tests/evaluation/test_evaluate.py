"""The whole report on a toy survey: every axis, resumed and not made twice."""

import json
from pathlib import Path

import pytest
from tiny_model import save_tiny_model

from galaxysd.catalog import DecisionTree, read_votes
from galaxysd.embedding.encoders import load_encoder
from galaxysd.errors import InputError
from galaxysd.evaluation.evaluate import EvaluationSettings, Report, evaluate
from galaxysd.evaluation.reader import ReaderSettings
from galaxysd.evaluation.report import summary, write_page
from galaxysd.images.build import build_dataset
from galaxysd.images.framing import Framing
from galaxysd.images.sources import ImageSource
from galaxysd.images.toy import make_toy_survey

READER = ReaderSettings(readers=1, widths=(16, 16), images=128)
SETTINGS = EvaluationSettings(n=16, measured=16, readers=READER, school=READER)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("evaluate")
    make_toy_survey(folder / "survey", n=260, seed=0, size=32)
    catalog = read_votes(folder / "survey" / "votes.csv", tree=DecisionTree.load("gz2"), survey="sdss")
    with ImageSource(folder / "survey" / "images") as images:
        build_dataset(catalog, images, out=folder / "dataset", framing=Framing(size=32), survey="sdss")
    save_tiny_model(folder / "model", size=32)
    return {"data": folder / "dataset", "model": folder / "model"}


def judge(places: dict[str, Path], out: Path, settings: EvaluationSettings = SETTINGS) -> Report:
    return evaluate(
        [places["data"]], out, model=places["model"], encoder=load_encoder("pixels"), settings=settings, steps=2
    )


@pytest.fixture(scope="module")
def made(places: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    out = tmp_path_factory.mktemp("report") / "report"
    return out, judge(places, out)


def test_every_axis_is_there_and_a_random_network_is_seen_through(made: tuple[Path, Report]) -> None:
    out, report = made
    axes = {"realism", "appearance", "morphology", "consistency", "diversity", "memory", "usefulness"}
    assert set(report.axes) == axes
    assert Report.parse(json.loads((out / "report.json").read_text()), "report.json") == report
    kernel = report.axes["realism"]["kernel distance"]
    assert kernel.value is not None and kernel.floor is not None and kernel.value > 3 * abs(kernel.floor.value)
    assert report.axes["realism"]["Fréchet distance"].note is not None  # fewer galaxies than features
    assert report.axes["memory"]["nearer than 1 % of real"].straw_men["training copies"] == 1


def test_the_page_tells_it_in_words_and_pictures(made: tuple[Path, Report]) -> None:
    out, report = made
    text = write_page(report, out).read_text()
    assert text.count("data:image/png") >= 1 + 6 + 5  # the dreams, charts, figures
    assert "Do the dreams look like galaxies?" in text and "training copies" in text
    words = summary(report)
    assert "Fréchet distance: not measured" in words and "short of real galaxies" in words


def test_what_was_done_is_taken_up_and_a_finished_report_not_made_twice(
    places: dict[str, Path], made: tuple[Path, Report]
) -> None:
    out, report = made
    assert judge(places, out) == report
    (out / "done.json").unlink()
    dreamed = (out / "dreamed.npy").stat().st_mtime_ns
    assert judge(places, out).axes == report.axes
    assert (out / "dreamed.npy").stat().st_mtime_ns == dreamed


def test_other_settings_in_the_same_folder_are_refused(places: dict[str, Path], made: tuple[Path, Report]) -> None:
    with pytest.raises(InputError, match="other settings"):
        judge(places, made[0], SETTINGS.model_copy(update={"seed": 1}))
