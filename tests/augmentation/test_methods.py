"""Every arm does what its name says, with the shots of its seed and as many dreams as it may have."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from galaxysd.augmentation import methods as module
from galaxysd.augmentation.experiment_data import Bench, write_bench
from galaxysd.augmentation.methods import DREAMS, OWN, PRETRAINED, VARIED, Arm, Cell, run_cell, standard_arms
from galaxysd.classifiers.labels import Examples
from galaxysd.classifiers.train import ClassifierSettings, GalaxyClassifier, train_classifier
from galaxysd.encoders.registry import load_encoder

Shapes = Callable[..., Examples]
NAMES = ("disc", "bar", "ring")
CELL = Cell(arm="any", shots=10, seed=0)


@pytest.fixture(scope="module")
def bench(shapes: Shapes, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("bench")
    dreams = {name: shapes(120, seed=seed, dreamed=True) for name, seed in ((DREAMS, 5), (VARIED, 6))}
    copied = {name: np.arange(120) < 12 for name in dreams}
    encoders = {OWN: load_encoder("pixels")}
    write_bench(folder, NAMES, shapes(150, seed=0), shapes(90, seed=1), dreams, copied, encoders)
    return Bench.load(folder)


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Examples, Examples, ClassifierSettings, object]]:
    """What every network was trained with."""
    seen: list[tuple[Examples, Examples, ClassifierSettings, object]] = []

    def watched(train: Examples, held: Examples, *rest: object, start: object = None) -> object:
        seen.append((train, held, rest[2], start))  # type: ignore[arg-type]
        return train_classifier(train, held, *rest, start=start)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "train_classifier", watched)
    return seen


def test_a_bench_comes_back_as_it_was(bench: Bench, shapes: Shapes) -> None:
    train = shapes(150, seed=0)
    assert bench.train.pixels.equal(train.pixels) and bench.train.ids == train.ids
    assert (bench.train.labels == train.labels).all() and np.array_equal(bench.train.ra, train.ra)
    assert bench.dreams[VARIED].dreamed.all() and np.isnan(bench.dreams[VARIED].ra).all()
    assert bench.copied[DREAMS].sum() == 12 and bench.classes == NAMES
    expected = load_encoder("pixels").features(bench.test.pixels.permute(0, 2, 3, 1).contiguous().numpy())
    assert np.array_equal(bench.features[OWN]["test"], expected)


def test_the_standard_arms() -> None:
    arms = standard_arms((1, 10), (2,), (OWN, PRETRAINED), explore=True)
    names = [arm.name for arm in arms]
    assert names[0] == "baseline" and len(set(names)) == len(names) and len({arm.slug for arm in arms}) == len(arms)
    assert {arm.ratio for arm in arms if "x10" in arm.name} == {10.0}
    assert [arm.name for arm in arms if arm.explored] == ["curriculum", "low guidance", "unfiltered", "hardest first"]
    assert not any("probe" in arm.name for arm in standard_arms((1,), (2,), (), explore=False))
    assert not any(arm.hardest for arm in standard_arms((1,), (2,), (), explore=True))
    assert Arm(name="f", gammas=(1, 2)).trainings == 2 and Arm(name="p", learner="probe").trainings == 0


def test_a_network_learns_from_real_galaxies_and_dreams(
    bench: Bench, tiny: ClassifierSettings, tmp_path: Path, trainings: list
) -> None:
    found = run_cell(bench, Arm(name="dreams", ratio=2), CELL, tiny, tmp_path)
    train, held, settings, _ = trainings[0]
    assert found.row["real"] == [10, 10, 10] and found.row["dreams"] == [20, 20, 20]
    assert (~train.dreamed).sum() == 24 and len(held) == 6 and not held.dreamed.any()
    assert not set(train.ids) & set(held.ids) and not set(train.ids) & set(bench.test.ids)
    copies = {bench.dreams[DREAMS].ids[index] for index in range(12)}
    assert not copies & set(train.ids) and found.row["copies"] == 12 and found.row["pool"] == 120
    assert settings.dreamed_share == 0.5
    assert found.row["F1"] > 0.9 and found.probabilities.shape == (90, 3)
    assert found.model is not None and (found.model / "config.json").exists() | any(found.model.iterdir())


def test_hardest_first_gives_dreams_where_probes_err(
    bench: Bench, tiny: ClassifierSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "difficulty", lambda *found, seed: [0.0, 0.5, 0.25])
    found = run_cell(bench, Arm(name="hard", ratio=1, hardest=True), CELL, tiny, tmp_path)
    assert found.row["dreams"] == [0, 20, 10]


def test_dreams_only_and_unfiltered_and_the_other_pool(
    bench: Bench, tiny: ClassifierSettings, tmp_path: Path, trainings: list
) -> None:
    quick = tiny.model_copy(update={"images": 64})
    only = run_cell(bench, Arm(name="only", ratio=1, real=False), CELL, quick, tmp_path / "a")
    assert trainings[-1][0].dreamed.all() and only.row["real"] == [0, 0, 0]
    run_cell(bench, Arm(name="all", ratio=10, filtered=False, pool=VARIED), CELL, quick, tmp_path / "b")
    assert sum(trainings[-1][0].dreamed) == 120  # more are not there, and none is refused
    assert set(bench.dreams[VARIED].ids) <= set(trainings[-1][0].ids)


def test_focal_loss_keeps_the_gamma_that_the_held_out_galaxies_like(
    bench: Bench, tiny: ClassifierSettings, tmp_path: Path, trainings: list
) -> None:
    found = run_cell(bench, Arm(name="focal", gammas=(1, 60)), CELL, tiny, tmp_path)
    assert [one[2].gamma for one in trainings] == [1, 60] and {one[2].loss for one in trainings} == {"focal"}
    assert found.row["gamma"] == 1  # with 60, nothing is learned


def test_a_curriculum_goes_from_dreams_to_real_galaxies_at_the_same_cost(
    bench: Bench, tiny: ClassifierSettings, tmp_path: Path, trainings: list
) -> None:
    run_cell(bench, Arm(name="curriculum", ratio=1, curriculum=True), CELL, tiny, tmp_path)
    (_, _, first, start), (_, _, second, after) = trainings
    assert first.dreamed_share > 0.5 > second.dreamed_share
    assert first.images + second.images == tiny.images and start is None and after is not None


def test_strong_arms_oversample_and_weights_weigh(
    bench: Bench, tiny: ClassifierSettings, tmp_path: Path, trainings: list
) -> None:
    quick = tiny.model_copy(update={"images": 64})
    run_cell(bench, Arm(name="strong", strong=True), CELL, quick, tmp_path / "a")
    run_cell(bench, Arm(name="weights", class_weights=True), CELL, quick, tmp_path / "b")
    strong, weights = trainings[0][2], trainings[1][2]
    assert strong.balanced and strong.augmentation == "strong" and not strong.class_weights
    assert weights.class_weights and weights.augmentation == "dihedral" and not weights.balanced


def test_a_probe_learns_and_dreams_count_at_most_as_much_as_real_galaxies(
    bench: Bench, tiny: ClassifierSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[np.ndarray] = []
    fit = module.fit_probe

    def watched(*args: object, sample_weights: np.ndarray) -> object:
        given.append(sample_weights)
        return fit(*args, sample_weights=sample_weights)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "fit_probe", watched)
    alone = run_cell(bench, Arm(name="probe", learner="probe"), CELL, tiny, tmp_path)
    both = run_cell(bench, Arm(name="probe", learner="probe", ratio=3), CELL, tiny, tmp_path)
    assert alone.row["F1"] > 0.8 and alone.model is None and "strength" in alone.row
    assert both.row["F1"] >= alone.row["F1"] - 0.02
    assert given[1][:24].sum() == pytest.approx(given[1][24:].sum())


def test_a_probe_of_galaxyemb_becomes_a_classifier_that_says_the_same(shapes: Shapes, tmp_path: Path) -> None:
    encoder = load_encoder("untrained", orientations=8)
    dreams = {name: shapes(30, seed=seed, dreamed=True) for name, seed in ((DREAMS, 5), (VARIED, 6))}
    copied = {name: np.zeros(30, bool) for name in dreams}
    write_bench(tmp_path / "bench", NAMES, shapes(60, seed=0), shapes(30, seed=1), dreams, copied, {OWN: encoder})
    bench = Bench.load(tmp_path / "bench")
    found = run_cell(bench, Arm(name="probe", learner="probe"), CELL, ClassifierSettings(), tmp_path / "run")
    assert found.model is not None
    classifier = GalaxyClassifier.load(found.model)
    assert classifier.classes == NAMES
    assert np.allclose(classifier.probabilities(bench.test.pixels), found.probabilities, atol=2e-3)
