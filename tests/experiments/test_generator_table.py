"""The table of generators on a toy survey and a tiny model: every row, resumed, beside other images; sheets."""

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tiny_model import save_tiny_model
from toy_survey import toy_dataset

from galaxysd.catalog.tree import DecisionTree

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))  # scripts, not a package

import generator_rows
import generator_table

SIDE = 32


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_dataset(tmp_path_factory.mktemp("toy"), n=240, size=SIDE)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny", size=SIDE)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    quick = ("-n", "20", "--per-kind", "12", "--steps", "2", "--school", "32", "--no-speed")
    monkeypatch.setattr(sys, "argv", ["generator_table.py", *arguments, *quick])
    generator_table.main()


@pytest.fixture(autouse=True)
def quick_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    from galaxysd.evaluation.reader import ReaderSettings

    small = {"readers": 1, "widths": (8,), "images": 32}

    def settings(**changes: object) -> ReaderSettings:
        return ReaderSettings.model_validate({**small, **changes})

    for module in ("generator_samples", "generator_rows"):
        monkeypatch.setattr(sys.modules[module], "ReaderSettings", settings)


@pytest.fixture(autouse=True)
def quick_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes take a fifth of a second a galaxy and are tested elsewhere."""

    def measure(images: np.ndarray, *, workers: int) -> pl.DataFrame:
        level = images.mean(axis=(1, 2, 3)) / 255
        columns = {name: level + index for index, name in enumerate(("gini", "m20", "asymmetry"))}
        return pl.DataFrame({**columns, "ellipticity": 1 - level, "measured": [True] * len(images)})

    monkeypatch.setattr(generator_rows, "measure_morphology", measure)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_table_is_filled_in_and_the_same_command_goes_on(
    dataset: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    rng = np.random.default_rng(0)
    np.save(other / "votes.npy", rng.integers(0, 256, (30, SIDE, SIDE, 3), np.uint8))
    out, work = tmp_path / "results" / "generator.json", tmp_path / "work"
    command = ["--model", str(model), "--data", str(dataset), "--out", str(out), "--work", str(work)]
    command += ["--images", f"other={other}", "--sheet"]
    run(monkeypatch, *command)
    first = json.loads(out.read_text())
    assert {"what", "command", "model", "model_hash", "machine", "rows", "images"} <= set(first)
    names = [one["measure"] for one in first["rows"]]
    assert len(names) == len(set(names)) and len(names) > 28
    for one in first["rows"]:
        assert {"measure", "n", "seed", "value", "low", "high", "real", "control", "goal", "met"} <= set(one)
        assert one["value"] is not None or one["note"]
        if one["value"] is not None:
            assert one["low"] - 1e-9 <= one["value"] <= one["high"] + 1e-9 and one["n"] > 0
    noted = {one["measure"]: one["note"] for one in first["rows"] if one["value"] is None}
    assert set(noted) == {"told-apart", "pixels"}, noted  # both need more galaxies than a toy survey has
    theirs = {one["measure"]: one for one in first["images"]["other"]["rows"]}
    assert theirs["kind read: bar"]["note"] == "no images"
    assert theirs["sky deviation over real, votes"]["value"] > 2  # noise
    folder = out.with_suffix("")
    for name in ("sixteen-generated.png", "sixteen-real.png", "shuffled.png", "shuffled-key.csv", "withheld.png"):
        assert (folder / name).is_file()
    assert len((folder / "shuffled-key.csv").read_text().splitlines()) > 256
    assert "| kind read: bar |" in out.with_suffix(".md").read_text()

    def refuse(*_: object) -> None:
        raise AssertionError("measured twice")

    monkeypatch.setattr(generator_rows, "MEASURES", tuple((name, refuse) for name, _ in generator_rows.MEASURES))
    run(monkeypatch, *command[:-1])
    again = json.loads(out.read_text())
    assert again["rows"] == first["rows"] and again["images"] == first["images"]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_gate_judges_reconstructions_with_and_without_grain(
    dataset: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "gate.json"
    run(
        monkeypatch,
        *("--model", str(model), "--data", str(dataset), "--out", str(out), "--work", str(tmp_path / "work"), "--gate"),
    )
    rows = {one["measure"]: one for one in json.loads(out.read_text())["rows"]}
    assert not rows["gate, reconstructed: power spectrum, largest deviation of a band, dex"]["met"]
    assert any(name.startswith("gate, with grain") for name in rows)
    assert (tmp_path / "gate" / "gate.png").is_file() and (tmp_path / "gate" / "gate-spectra.png").is_file()


def test_a_kind_is_read_only_where_the_way_to_it_is_read() -> None:
    tree = DecisionTree.load("gz2")
    read = np.zeros((3, len(tree.columns)))
    place = {column: index for index, column in enumerate(tree.columns)}
    read[0, [place["t01_smooth_or_features_a01_smooth"], place["t07_rounded_a18_cigar_shaped"]]] = 1
    read[1, [place["t01_smooth_or_features_a02_features_or_disk"], place["t07_rounded_a18_cigar_shaped"]]] = 1
    read[2, [place["t01_smooth_or_features_a01_smooth"], place["t07_rounded_a16_completely_round"]]] = 1
    found = generator_rows.recognised(read, ["t07_rounded_a18_cigar_shaped"], tree, tree)
    assert found.tolist() == [True, False, False]


def test_an_answer_needs_no_way_where_its_survey_asks_none() -> None:
    efigi = DecisionTree.load("efigi")
    both = DecisionTree.load("gz2").union(efigi)
    read = np.zeros((1, len(both.columns)))
    read[0, both.columns.index("t08_odd_feature_a19_ring")] = 0.6
    ring = ["t08_odd_feature_a19_ring"]
    assert generator_rows.recognised(read, ring, both, efigi).tolist() == [True]
    assert generator_rows.recognised(read, ring, both, both).tolist() == [False]


def test_the_same_picture_differs_by_nothing() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    assert generator_rows.rms(images, images).tolist() == [0] * 4
    assert generator_rows.rms(np.zeros_like(images), np.full_like(images, 7)).tolist() == [7] * 4
