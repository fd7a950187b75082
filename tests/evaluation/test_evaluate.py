"""The whole report on a toy survey: every axis, resumed and not made twice."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from galaxysd.data.decode import encode_png
from galaxysd.encoders.registry import load_encoder
from galaxysd.errors import InputError
from galaxysd.evaluation.evaluate import EvaluationSettings, Report, evaluate
from galaxysd.evaluation.reader import ReaderSettings
from galaxysd.evaluation.report import summary, write_page

READER = ReaderSettings(readers=1, widths=(16, 16), images=128)
SETTINGS = EvaluationSettings(n=16, measured=4, readers=READER, school=READER)


def judge(places: dict[str, Path], out: Path, settings: EvaluationSettings = SETTINGS) -> Report:
    return evaluate(
        [places["data"]], out, model=places["model"], encoder=load_encoder("pixels"), settings=settings, steps=2
    )


def judge_images(places: dict[str, Path], out: Path, images: Path) -> Report:
    """The report of given images, with the cache of the other reports."""
    return evaluate(
        [places["data"]],
        out,
        images=images,
        encoder=load_encoder("pixels"),
        settings=SETTINGS,
        cache=places["cache"],
    )


@pytest.fixture(scope="module")
def made(places: dict[str, Path]) -> tuple[Path, Report]:
    out = places["data"].parent / "report"
    return out, judge(places, out)


def test_every_axis_is_there_and_a_random_network_is_seen_through(made: tuple[Path, Report]) -> None:
    out, report = made
    axes = {"realism", "appearance", "morphology", "consistency", "diversity", "memory", "usefulness"}
    assert set(report.scores) == axes
    assert Report.parse(json.loads((out / "report.json").read_text()), "report.json") == report
    kernel = report.scores["realism"]["kernel distance"]
    assert (
        kernel.value is not None
        and kernel.real_baseline is not None
        and kernel.value > 3 * abs(kernel.real_baseline.value)
    )
    assert report.scores["realism"]["Fréchet distance"].note is not None  # fewer galaxies than features
    assert report.scores["memory"]["nearer than 1 % of real"].negative_controls["training copies"] == 1


def test_the_page_tells_it_in_words_and_pictures(made: tuple[Path, Report]) -> None:
    out, report = made
    text = write_page(report, out).read_text()
    assert text.count("data:image/png") >= 1 + 6 + 5  # the generated galaxies, charts, figures
    assert "Do the dreams look like galaxies?" in text and "training copies" in text
    assert "goals not met" in text
    words = summary(report)
    assert "Fréchet distance: not measured" in words and "short of real galaxies" in words


def test_what_was_done_is_taken_up_and_a_finished_report_not_made_twice(
    places: dict[str, Path], made: tuple[Path, Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("galaxysd.evaluation.evaluate.draw", lambda *drawn: None)
    out, report = made
    assert judge(places, out) == report
    (out / "done.json").unlink()
    generated = (out / "generated.npy").stat().st_mtime_ns
    measured = {path: path.stat().st_mtime_ns for path in places["cache"].iterdir()}
    assert judge(places, out).scores == report.scores
    assert measured == {path: path.stat().st_mtime_ns for path in places["cache"].iterdir()}  # nothing done again
    assert (out / "generated.npy").stat().st_mtime_ns == generated


def test_other_settings_in_the_same_folder_are_refused(places: dict[str, Path], made: tuple[Path, Report]) -> None:
    with pytest.raises(InputError, match="other settings"):
        judge(places, made[0], SETTINGS.model_copy(update={"seed": 1}))


def test_given_images_are_judged_with_what_is_known_of_them(
    places: dict[str, Path], made: tuple[Path, Report], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("galaxysd.evaluation.evaluate.draw", lambda *drawn: None)
    images = np.load(made[0] / "generated.npy")
    folder = tmp_path / "images"
    folder.mkdir()
    for index, image in enumerate(images):
        (folder / f"{index:02}.png").write_bytes(encode_png(image))
    untold = judge_images(places, tmp_path / "untold", folder)
    assert untold.sampling is None and untold.images == 16 and untold.per_class == {}
    for axis in ("consistency", "usefulness"):
        assert all(one.value is None and "without conditions" in str(one.note) for one in untold.scores[axis].values())
    spread = untold.scores["diversity"]["spread within kinds"]
    assert spread.value is None and "without conditions" in str(spread.note)
    ours = made[1]
    for metric, one in ours.scores["realism"].items():  # the same pixels, so the same score
        assert one.value == untold.scores["realism"][metric].value
    page = write_page(untold, tmp_path / "untold").read_text()
    assert "not measured, the images come without conditions" in page
    frame = pl.DataFrame({"file": [f"{index:02}.png" for index in range(16)], "prompt": ["smooth galaxy"] * 16})
    frame.write_parquet(folder / "manifest.parquet")
    told = judge_images(places, tmp_path / "told", folder)
    assert told.scores["consistency"]["accuracy"].value is not None
    assert told.scores["usefulness"]["accuracy when taught by"].value is not None


def test_a_model_or_images_but_not_both_or_none(places: dict[str, Path], tmp_path: Path) -> None:
    how = {"encoder": load_encoder("pixels"), "settings": SETTINGS}
    for keywords in ({}, {"model": places["model"], "images": places["model"]}):
        with pytest.raises(InputError, match="either a model or images"):
            evaluate([places["data"]], tmp_path / "out", **keywords, **how)
