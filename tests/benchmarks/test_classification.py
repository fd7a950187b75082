"""The benchmark of classifiers runs through on tiny images, and its table says what was missed."""

import sys
from pathlib import Path

import pytest

from galaxysd.classifiers.network import ClassifierNetwork
from galaxysd.classifiers.train import ClassifierSettings

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))  # scripts, not a package

import classification


def test_it_measures_training_and_classifying(tmp_path: Path) -> None:
    settings = ClassifierSettings(network=ClassifierNetwork(widths=(8,), depths=(1,)), images=128)
    examples = classification.random_examples(70, size=16)
    classifier, speed = classification.training(tmp_path / "run", settings, examples)
    assert speed["per_cpu_second"] > 0 and classifier.record.training["images_seen"] == 128
    one, eight = (classification.classifying(classifier, examples, count) for count in (1, 8))
    assert one["per_cpu_second"] > eight["per_cpu_second"] > 0


def test_files_share_pictures(tmp_path: Path) -> None:
    folder = classification.picture_folder(tmp_path / "pictures", 10, size=16, drawn=3)
    files = sorted(folder.iterdir())
    assert len(files) == 10 and files[0].read_bytes() == files[3].read_bytes()
    assert classification.picture_folder(tmp_path / "more", 4, size=16, drawn=3).is_dir()


def test_the_table_names_what_was_missed(capsys: pytest.CaptureFixture[str]) -> None:
    speed = {"per_second": 600.0, "per_cpu_second": 650.0}
    small, large = ({"galaxies": n, "seconds": n / 800, "peak_mb": n / 10} for n in (1000, 4000))
    classification.show({"training": speed, "classifying": {"1": speed, "8": speed}, "tables": [small, large]})
    lines = capsys.readouterr().out.splitlines()

    def of(what: str) -> str:
        return next(line for line in lines if what in line)

    assert "missed" in of("training, one thread, per second of processor") and "ok" in of("one orientation")
    assert "800 galaxies/s" in of("files to table") and "missed" in of("four times as many")
