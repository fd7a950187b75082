"""The axes move the right way: every negative control is worse than real galaxies on the axis it is made for."""

import numpy as np
import pytest

from galaxysd.catalog.tree import DecisionTree
from galaxysd.evaluation import scores
from galaxysd.metrics.consistency import Reading

TREE = DecisionTree.load("gz2")
HALVES = np.arange(200)[:, None] % 2 == np.arange(2)  # two kinds, half of the galaxies each
CLASSES = dict.fromkeys(("reference", "real_baseline", "generated", "one repeated"), HALVES)


@pytest.fixture(scope="module")
def features() -> dict[str, np.ndarray]:
    """A Gaussian galaxy population in four features, a good generator and the negative controls."""
    rng = np.random.default_rng(0)
    real = {name: rng.normal(size=(200, 4)) for name in ("reference", "real_baseline", "generated")}
    train = rng.normal(size=(400, 4))
    return {
        **real,
        "train": train,
        "blurred": 0.3 * rng.normal(size=(200, 4)) + 1,
        "noise": rng.normal(size=(200, 4)) + 6,
        "one repeated": np.repeat(real["real_baseline"][:1], 200, axis=0),
        "training copies": train[:200] + 1e-4 * rng.normal(size=(200, 4)),
    }


def test_a_good_generator_stands_at_the_floor(features: dict[str, np.ndarray]) -> None:
    for name, found in (scores.realism(features, 5, 0) | scores.diversity(features, CLASSES, 5, 0)).items():
        assert found.value is not None and found.real_baseline is not None
        assert found.value == pytest.approx(found.real_baseline.value, abs=0.15, rel=0.15), name


def test_straw_men_fail_where_they_must(features: dict[str, np.ndarray]) -> None:
    realism, diversity = scores.realism(features, 5, 0), scores.diversity(features, CLASSES, 5, 0)
    for name in ("Fréchet distance", "kernel distance", "two-sample AUC"):
        straw, real_baseline = realism[name].negative_controls, realism[name].real_baseline
        assert real_baseline is not None and min(straw["blurred"], straw["noise"]) > real_baseline.value + 0.1  # type: ignore[type-var]
    assert realism["precision"].negative_controls["noise"] == 0
    for name in ("recall", "coverage", "Vendi score", "spread within kinds"):
        straw, real_baseline = diversity[name].negative_controls, diversity[name].real_baseline
        assert real_baseline is not None and straw["one repeated"] < 0.6 * real_baseline.value  # type: ignore[operator]


def test_copies_raise_the_alarm(features: dict[str, np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    near = {name: rng.normal(10, 1, 200) for name in ("reference", "real_baseline", "generated")}
    near["training copies"] = rng.normal(2, 0.1, 200)
    found = scores.memorization(near, {**features, "reference": np.tile(features["reference"], (1, 1))}, 0)
    assert found["nearer than 1 % of real"].negative_controls["training copies"] == 1
    assert found["nearer than 1 % of real"].value < 0.05  # type: ignore[operator]
    assert found["authentic"].negative_controls["training copies"] == 0
    assert 0.3 < found["authentic"].value < 0.7  # type: ignore[operator]
    assert found["duplicates"].negative_controls["one repeated"] == 1


def test_shuffled_prompts_are_inconsistent() -> None:
    rng = np.random.default_rng(0)
    sizes = [len(question.answers) for question in TREE.questions]
    asked = np.concatenate([np.eye(size)[rng.integers(size, size=80)] for size in sizes], axis=1)
    known = np.ones((80, len(sizes)), bool)
    reading = Reading(asked, known, np.clip(asked + rng.normal(0, 0.2, asked.shape), 0, 1), TREE)
    found = scores.consistency({"generated": reading, "real_baseline": reading}, 0)
    assert found["accuracy"].value > 2 * found["accuracy"].negative_controls["shuffled prompts"]  # type: ignore[operator]
    assert found["fraction error"].value < found["fraction error"].negative_controls["shuffled prompts"]  # type: ignore[operator]


def test_too_few_galaxies_give_a_note_and_no_number(features: dict[str, np.ndarray]) -> None:
    few = {name: values[:6] for name, values in features.items()}
    found = scores.realism(few, 5, 0)["Fréchet distance"]
    assert found.value is None and found.note is not None and "at least" in found.note


def test_a_kind_that_is_drawn_wrongly_is_found_where_the_whole_hides_it(features: dict[str, np.ndarray]) -> None:
    step = 4 * (HALVES[:, :1] - 0.5)  # the kinds lie apart
    apart = {name: features[name] + step for name in ("reference", "real_baseline")}
    exchanged = features["generated"] - step
    whole = scores.per_class(
        {**apart, "generated": exchanged}, dict.fromkeys(apart | {"generated": 0}, HALVES), ["a", "b"], 0
    )
    right = scores.per_class(
        {**apart, "generated": features["generated"] + step},
        dict.fromkeys(apart | {"generated": 0}, HALVES),
        ["a", "b"],
        0,
    )
    for kind in ("a", "b"):
        for metric in ("Fréchet distance", "kernel distance"):
            wrong, good = whole[kind][metric], right[kind][metric]
            assert wrong.value is not None and good.value is not None and good.real_baseline is not None
            assert wrong.value > 5 * abs(good.value)
            assert good.negative_controls["any kind"] > 2 * abs(good.value)  # type: ignore[operator]
        assert right[kind]["spread"].value == pytest.approx(1, abs=0.2)


def test_rare_kinds_are_left_out(features: dict[str, np.ndarray]) -> None:
    few = np.zeros((200, 2), bool)
    few[:5, 0], few[:, 1] = True, True
    chosen = {name: features[name] for name in ("reference", "real_baseline", "generated")}
    assert list(scores.per_class(chosen, dict.fromkeys(chosen, few), ["rare", "common"], 0)) == ["common"]
