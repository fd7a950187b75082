"""A classifier learns, is calibrated, remembered and resumed; what cannot be learned from is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from galaxysd.classifiers import train as module
from galaxysd.classifiers.train import (
    ClassifierSettings,
    ExampleDraws,
    GalaxyClassifier,
    continue_training,
    drawing_probabilities,
    train_classifier,
)
from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.errors import InputError
from galaxysd.training.fit import Budget

Shapes = Callable[..., GalaxySet]
NAMES = ("disc", "bar", "ring")


def changed(settings: ClassifierSettings, **values: object) -> ClassifierSettings:
    return settings.model_copy(update=values)


@pytest.fixture(scope="module")
def trained(shapes: Shapes, tiny: ClassifierSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    train_classifier(shapes(300, seed=0), shapes(60, seed=1), NAMES, folder, tiny)
    return folder


def test_it_learns_and_its_probabilities_are_honest(trained: Path, shapes: Shapes) -> None:
    classifier = GalaxyClassifier.load(trained / "model")
    test = shapes(200, seed=2)
    found = classifier.probabilities(test.images)
    assert found.shape == (200, 3) and np.allclose(found.sum(axis=1), 1)
    assert (found.argmax(axis=1) == test.labels).mean() > 0.95
    assert classifier.classes == NAMES and classifier.temperature > 0
    assert not list(trained.glob("checkpoint-*"))
    assert classifier.record.training["galaxies"] == shapes(300, seed=0).counts(3).tolist()


def test_a_finished_training_is_read_again(trained: Path, shapes: Shapes, tiny: ClassifierSettings) -> None:
    stamp = (trained / "done.json").stat().st_mtime_ns
    again = train_classifier(shapes(300, seed=0), shapes(60, seed=1), NAMES, trained, tiny)
    assert again.hash == GalaxyClassifier.load(trained / "model").hash
    assert (trained / "done.json").stat().st_mtime_ns == stamp
    with pytest.raises(InputError, match=r"other settings \(train\)"):
        train_classifier(shapes(299, seed=0), shapes(60, seed=1), NAMES, trained, tiny)
    with pytest.raises(InputError, match=r"other settings \(fit\)"):
        train_classifier(shapes(300, seed=0), shapes(60, seed=1), NAMES, trained, tiny, seed=1)


def test_an_interrupted_training_gives_the_same_classifier(
    trained: Path, shapes: Shapes, tiny: ClassifierSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = shapes(300, seed=0), shapes(60, seed=1)
    whole_fit = module.fit

    def interrupted(*arguments: object) -> dict[str, object]:
        """As if someone had pressed Ctrl-C after a third."""
        before = arguments[:-1]
        first = whole_fit(*before, Budget(images=640))  # type: ignore[arg-type]
        return {**first, "done": False}

    # The cooldown is laid out towards the whole budget, so a constant learning rate keeps both parts alike.
    flat = changed(tiny, fit=tiny.fit.model_copy(update={"cooldown": 0.0}))
    expected = train_classifier(*data, NAMES, tmp_path / "whole", flat)
    monkeypatch.setattr(module, "fit", interrupted)
    with pytest.raises(InputError, match="interrupted; the same command goes on"):
        train_classifier(*data, NAMES, tmp_path / "cut", flat)
    monkeypatch.undo()
    resumed = train_classifier(*data, NAMES, tmp_path / "cut", flat)
    assert resumed.hash == expected.hash


def test_more_images_continue_a_recipe(shapes: Shapes, tiny: ClassifierSettings, tmp_path: Path) -> None:
    data = shapes(100, seed=0), shapes(30, seed=1)
    first, _ = continue_training(*data, NAMES, tmp_path / "run", tiny, images=320)
    second, _ = continue_training(*data, NAMES, tmp_path / "run", tiny, images=640)
    third, _ = continue_training(*data, NAMES, tmp_path / "run", tiny, images=640)
    assert (first["images_seen"], second["images_seen"], third.get("already_done")) == (320, 640, True)


def test_neighbours_and_orientation_change_nothing(trained: Path, shapes: Shapes) -> None:
    classifier = GalaxyClassifier.load(trained / "model")
    pixels = shapes(70, seed=3).images
    found = classifier.probabilities(pixels)
    assert np.array_equal(classifier.probabilities(pixels[65:]), found[65:])
    assert np.allclose(classifier.probabilities(np.rot90(pixels, 1, (1, 2))), found, atol=1e-6)
    single = classifier.probabilities(pixels, orientations=1)
    assert not np.allclose(single, found, atol=1e-3)
    assert classifier.probabilities(pixels[:0]).shape == (0, 3)


@pytest.mark.parametrize(
    "pixels", [np.zeros((2, 8, 8, 3), np.uint8), np.zeros((2, 16, 16, 3)), np.zeros((2, 3, 16, 16), np.uint8)]
)
def test_other_images_are_refused(trained: Path, pixels: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"expected uint8 \[N, 16, 16, 3\]"):
        GalaxyClassifier.load(trained / "model").probabilities(pixels)
    with pytest.raises(InputError, match="orientations 9"):
        GalaxyClassifier.load(trained / "model").probabilities(np.zeros((0, 16, 16, 3), np.uint8), 9)


def test_shares_of_dreams_and_classes(shapes: Shapes, tiny: ClassifierSettings) -> None:
    real, synthetic = shapes(60, seed=0, shares=(0.8, 0.15, 0.05)), shapes(500, seed=1, synthetic=True)
    both = GalaxySet.join(real, synthetic)
    quarter = drawing_probabilities(both, changed(tiny, synthetic_share=0.25))
    assert quarter[both.synthetic].sum() == pytest.approx(0.25) and quarter.sum() == pytest.approx(1)
    assert drawing_probabilities(real, changed(tiny, synthetic_share=0.25)).sum() == pytest.approx(1)
    assert drawing_probabilities(synthetic, tiny).sum() == pytest.approx(1)
    assert drawing_probabilities(both, changed(tiny, synthetic_share=0.0))[both.synthetic].max() == 0
    balanced = drawing_probabilities(both, changed(tiny, balanced=True))
    assert np.allclose(np.bincount(both.labels[~both.synthetic], weights=balanced[~both.synthetic]), 0.5 / 3)
    draws = ExampleDraws(both, 3, changed(tiny, balanced=True))
    targets = draws.batch(3000, torch.Generator().manual_seed(0))["targets"]
    assert targets.mean(dim=0).numpy() == pytest.approx([1 / 3] * 3, abs=0.03)


@pytest.mark.parametrize(
    "values",
    [
        {"class_weights": True},
        {"loss": "focal", "balanced": True},
        {"augmentation": "strong"},
    ],
)
def test_every_way_of_training_learns(
    shapes: Shapes, tiny: ClassifierSettings, tmp_path: Path, values: dict[str, object]
) -> None:
    found = train_classifier(
        shapes(300, seed=0, shares=(0.6, 0.3, 0.1)),
        shapes(60, seed=1),
        NAMES,
        tmp_path / "run",
        changed(tiny, **values),
    )
    test = shapes(150, seed=2)
    assert (found.probabilities(test.images).argmax(axis=1) == test.labels).mean() > 0.8


def test_class_weights_help_the_rare_class(shapes: Shapes, tiny: ClassifierSettings, tmp_path: Path) -> None:
    train = shapes(400, seed=0, shares=(0.88, 0.1, 0.02), noise=60)
    test, short = shapes(300, seed=2, noise=60), changed(tiny, images=960)
    recall = []
    for weights in (False, True):
        settings = changed(short, class_weights=weights)
        found = train_classifier(train, train.subset([]), NAMES, tmp_path / str(weights), settings)
        assert found.temperature == 1
        recall.append((found.probabilities(test.images).argmax(axis=1) == 2)[test.labels == 2].mean())
    assert recall[1] > recall[0] + 0.1


def test_what_cannot_be_learned_from(shapes: Shapes, tiny: ClassifierSettings, tmp_path: Path) -> None:
    real = shapes(30, seed=0)
    cases = {
        "there are no galaxies": (real.subset([]), real),
        "every galaxy is of class 'bar'": (real.subset(real.labels == 1), real),
        r"has label 2; expected 0 to 1": (real, real.subset([])),
    }
    for said, (train, held_out) in cases.items():
        names = NAMES if "label" not in said else NAMES[:2]
        with pytest.raises(InputError, match=said):
            train_classifier(train, held_out, names, tmp_path / "run", tiny)
    assert not (tmp_path / "run").exists()
