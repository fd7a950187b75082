"""Every arm does what its name says, with the shots of its seed and as many synthetic galaxies as it may have."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from galaxysd.augmentation import methods as module
from galaxysd.augmentation.experiment_data import ExperimentData, write_experiment_data
from galaxysd.augmentation.methods import OWN, PRETRAINED, SYNTHETIC, VARIED, Arm, RunSpec, run_spec, standard_arms
from galaxysd.classifiers.train import ClassifierSettings, GalaxyClassifier, train_classifier
from galaxysd.data.galaxy_set import GalaxySet
from galaxysd.encoders.registry import load_encoder

Shapes = Callable[..., GalaxySet]
NAMES = ("disc", "bar", "ring")
CELL = RunSpec(arm="any", shots=10, seed=0)


@pytest.fixture(scope="module")
def data(shapes: Shapes, tmp_path_factory: pytest.TempPathFactory) -> ExperimentData:
    folder = tmp_path_factory.mktemp("data")
    synthetic = {name: shapes(120, seed=seed, synthetic=True) for name, seed in ((SYNTHETIC, 5), (VARIED, 6))}
    copied = {name: np.arange(120) < 12 for name in synthetic}
    encoders = {OWN: load_encoder("pixels")}
    write_experiment_data(folder, NAMES, shapes(150, seed=0), shapes(90, seed=1), synthetic, copied, encoders)
    return ExperimentData.load(folder)


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[GalaxySet, GalaxySet, ClassifierSettings]]:
    """What every network was trained with."""
    seen: list[tuple[GalaxySet, GalaxySet, ClassifierSettings]] = []

    def watched(train: GalaxySet, held: GalaxySet, *rest: object) -> object:
        seen.append((train, held, rest[2]))  # type: ignore[arg-type]
        return train_classifier(train, held, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "train_classifier", watched)
    return seen


def test_a_bench_comes_back_as_it_was(data: ExperimentData, shapes: Shapes) -> None:
    train = shapes(150, seed=0)
    assert np.array_equal(data.train.images, train.images) and data.train.ids == train.ids
    assert (data.train.labels == train.labels).all() and np.array_equal(data.train.ra, train.ra)
    assert data.synthetic[VARIED].synthetic.all() and np.isnan(data.synthetic[VARIED].ra).all()
    assert data.copied[SYNTHETIC].sum() == 12 and data.classes == NAMES
    expected = load_encoder("pixels").features(data.test.images)
    assert np.array_equal(data.features[OWN]["test"], expected)


def test_the_standard_arms() -> None:
    arms = standard_arms((1, 10), (2,), (OWN, PRETRAINED), explore=True)
    names = [arm.name for arm in arms]
    assert names[0] == "baseline" and len(set(names)) == len(names) and len({arm.slug for arm in arms}) == len(arms)
    assert {arm.ratio for arm in arms if "x10" in arm.name} == {10.0}
    assert [arm.name for arm in arms if arm.explored] == ["low guidance", "unfiltered"]
    assert not any("probe" in arm.name for arm in standard_arms((1,), (2,), (), explore=False))
    assert Arm(name="f", gammas=(1, 2)).trainings == 2 and Arm(name="p", learner="probe").trainings == 0


def test_a_network_learns_from_real_galaxies_and_dreams(
    data: ExperimentData, tiny: ClassifierSettings, tmp_path: Path, trainings: list
) -> None:
    found = run_spec(data, Arm(name="synthetic", ratio=2), CELL, tiny, tmp_path)
    train, held, settings, _ = trainings[0]
    assert found.row["real"] == [10, 10, 10] and found.row["synthetic"] == [20, 20, 20]
    assert (~train.synthetic).sum() == 24 and len(held) == 6 and not held.synthetic.any()
    assert not set(train.ids) & set(held.ids) and not set(train.ids) & set(data.test.ids)
    copies = {data.synthetic[SYNTHETIC].ids[index] for index in range(12)}
    assert not copies & set(train.ids) and found.row["copies"] == 12 and found.row["pool"] == 120
    assert settings.synthetic_share == 0.5
    assert found.row["F1"] > 0.9 and found.probabilities.shape == (90, 3)
    assert found.model is not None and (found.model / "config.json").exists() | any(found.model.iterdir())


def test_dreams_only_and_unfiltered_and_the_other_pool(
    data: ExperimentData, tiny: ClassifierSettings, tmp_path: Path, trainings: list
) -> None:
    quick = tiny.model_copy(update={"images": 64})
    only = run_spec(data, Arm(name="only", ratio=1, real=False), CELL, quick, tmp_path / "a")
    assert trainings[-1][0].synthetic.all() and only.row["real"] == [0, 0, 0]
    run_spec(data, Arm(name="all", ratio=10, filtered=False, pool=VARIED), CELL, quick, tmp_path / "b")
    assert sum(trainings[-1][0].synthetic) == 120  # more are not there, and none is refused
    assert set(data.synthetic[VARIED].ids) <= set(trainings[-1][0].ids)


def test_focal_loss_keeps_the_gamma_that_the_held_out_galaxies_like(
    data: ExperimentData, tiny: ClassifierSettings, tmp_path: Path, trainings: list
) -> None:
    found = run_spec(data, Arm(name="focal", gammas=(1, 60)), CELL, tiny, tmp_path)
    assert [one[2].gamma for one in trainings] == [1, 60] and {one[2].loss for one in trainings} == {"focal"}
    assert found.row["gamma"] == 1  # with 60, nothing is learned


def test_strong_arms_oversample_and_weights_weigh(
    data: ExperimentData, tiny: ClassifierSettings, tmp_path: Path, trainings: list
) -> None:
    quick = tiny.model_copy(update={"images": 64})
    run_spec(data, Arm(name="strong", strong=True), CELL, quick, tmp_path / "a")
    run_spec(data, Arm(name="weights", class_weights=True), CELL, quick, tmp_path / "b")
    strong, weights = trainings[0][2], trainings[1][2]
    assert strong.balanced and strong.augmentation == "strong" and not strong.class_weights
    assert weights.class_weights and weights.augmentation == "dihedral" and not weights.balanced


def test_a_probe_learns_and_dreams_count_at_most_as_much_as_real_galaxies(
    data: ExperimentData, tiny: ClassifierSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[np.ndarray] = []
    fit = module.fit_probe

    def watched(*args: object, sample_weights: np.ndarray) -> object:
        given.append(sample_weights)
        return fit(*args, sample_weights=sample_weights)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "fit_probe", watched)
    alone = run_spec(data, Arm(name="probe", learner="probe"), CELL, tiny, tmp_path)
    both = run_spec(data, Arm(name="probe", learner="probe", ratio=3), CELL, tiny, tmp_path)
    assert alone.row["F1"] > 0.8 and alone.model is None and "strength" in alone.row
    assert both.row["F1"] >= alone.row["F1"] - 0.02
    assert given[1][:24].sum() == pytest.approx(given[1][24:].sum())


def test_a_probe_of_galaxyemb_becomes_a_classifier_that_says_the_same(shapes: Shapes, tmp_path: Path) -> None:
    encoder = load_encoder("untrained", orientations=8)
    synthetic = {name: shapes(30, seed=seed, synthetic=True) for name, seed in ((SYNTHETIC, 5), (VARIED, 6))}
    copied = {name: np.zeros(30, bool) for name in synthetic}
    write_experiment_data(
        tmp_path / "data", NAMES, shapes(60, seed=0), shapes(30, seed=1), synthetic, copied, {OWN: encoder}
    )
    data = ExperimentData.load(tmp_path / "data")
    found = run_spec(data, Arm(name="probe", learner="probe"), CELL, ClassifierSettings(), tmp_path / "run")
    assert found.model is not None
    classifier = GalaxyClassifier.load(found.model)
    assert classifier.classes == NAMES
    assert np.allclose(classifier.probabilities(data.test.images), found.probabilities, atol=2e-3)
