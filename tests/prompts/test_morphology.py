"""Morphology: validation, vectors, rounding, blending."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from galaxysd.catalog.tree import DecisionTree
from galaxysd.errors import InputError
from galaxysd.prompts import Morphology

TREE = DecisionTree.load("gz2")
BAR, NO_BAR = TREE.by_key["t03_bar"].columns
TIGHT, MEDIUM, LOOSE = TREE.by_key["t10_arms_winding"].columns


def bar(share: float, weight: float = 1.0, survey: str | None = None) -> Morphology:
    return Morphology(survey=survey, fractions={BAR: share, NO_BAR: 1.0 - share}, weights={BAR: weight})


def test_vector_is_in_tree_order_and_keeps_unknown_apart_from_zero() -> None:
    fractions, known = bar(0.25).vector(TREE)
    assert fractions.dtype == np.float32 and fractions.shape == (37,)
    assert known.dtype == bool and known.shape == (11,)
    assert fractions[TREE.columns.index(BAR)] == 0.25
    assert fractions.sum() == 1.0
    assert known.tolist() == [question.key == "t03_bar" for question in TREE.questions]
    assert bar(0.25).known(TREE) == ("t03_bar",)


def test_union_tree_keeps_the_meaning() -> None:
    union = TREE.union(DecisionTree.load("efigi"))
    fractions, known = bar(1.0).vector(union)
    assert len(fractions) == 44 and known.sum() == 1
    assert fractions[union.columns.index(BAR)] == 1.0


@pytest.mark.parametrize(
    ("fractions", "said"),
    [({BAR: 1.0}, "lacks t03_bar_a07_no_bar"), ({"t99_x": 1.0}, "'t99_x' is not an answer of tree 'gz2'")],
)
def test_check_refuses_what_is_not_of_the_tree(fractions: dict[str, float], said: str) -> None:
    morphology = Morphology(fractions=fractions)
    for act in (morphology.check, morphology.vector, morphology.rounded):
        with pytest.raises(InputError, match=said):
            act(TREE)


@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan, math.inf])
def test_fractions_stay_in_range(value: float) -> None:
    with pytest.raises(ValidationError):
        Morphology(fractions={BAR: value, NO_BAR: 0.0})


@pytest.mark.parametrize("value", [0.0, -1.0, 5.01, math.nan, math.inf])
def test_weights_stay_in_range(value: float) -> None:
    with pytest.raises(ValidationError):
        bar(1.0, value)


def test_weight_needs_its_answer() -> None:
    with pytest.raises(ValidationError, match="weights of answers without a fraction"):
        Morphology(fractions={}, weights={BAR: 2.0})


def test_weight_one_is_no_weight_and_equal_morphologies_hash_equal() -> None:
    plain = Morphology(fractions={NO_BAR: 0.0, BAR: 1.0})
    assert bar(1.0, 1.0) == plain and hash(bar(1.0, 1.0)) == hash(plain)
    assert len({plain, bar(1.0), bar(1.0, 1.2), bar(1.0, survey="sdss")}) == 3


def test_json_round_trip() -> None:
    morphology = bar(0.3, 1.7, "sdss")
    assert Morphology.model_validate_json(morphology.model_dump_json()) == morphology


def test_from_row_reads_null_as_unknown() -> None:
    row = dict.fromkeys(TREE.columns, None) | {BAR: 0.0, NO_BAR: 0.0, "id": "g1", "ra": 12.0}
    morphology = Morphology.from_row(row, TREE, "sdss")
    assert morphology.known(TREE) == ("t03_bar",)
    assert morphology.fractions == {BAR: 0.0, NO_BAR: 0.0}
    assert morphology.survey == "sdss"


@pytest.mark.parametrize(
    ("values", "said"),
    [({BAR: 0.5, NO_BAR: None}, "row g1: question t03_bar lacks t03_bar_a07_no_bar"), ({BAR: 1.5, NO_BAR: 0.0}, "g1")],
)
def test_from_row_names_the_row(values: dict[str, float | None], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Morphology.from_row({"id": "g1", **values}, TREE)


def test_rounding_takes_the_largest_the_first_of_equals_and_drops_what_has_none() -> None:
    morphology = Morphology(
        fractions={TIGHT: 0.2, MEDIUM: 0.4, LOOSE: 0.4, BAR: 0.0, NO_BAR: 0.0},
        weights={MEDIUM: 1.236, LOOSE: 3.0},
    )
    rounded = morphology.rounded(TREE)
    assert rounded.fractions == {TIGHT: 0.0, MEDIUM: 1.0, LOOSE: 0.0}
    assert rounded.weights == {MEDIUM: 1.24}
    assert rounded.rounded(TREE) == rounded
    assert bar(1.0, 0.001).rounded(TREE).weights == {BAR: 0.01}
    assert bar(1.0, 1.004).rounded(TREE).weights == {}


def test_weighted_question_is_that_of_the_most_extreme_answer() -> None:
    morphology = Morphology(fractions={TIGHT: 0.5, MEDIUM: 0.5, LOOSE: 0.0}, weights={TIGHT: 1.5, MEDIUM: 0.25})
    assert morphology.weighted_questions(TREE) == {"t10_arms_winding": 0.25}
    assert bar(1.0).weighted_questions(TREE) == {}


def test_without_forgets_one_question() -> None:
    both = Morphology(fractions={TIGHT: 1.0, MEDIUM: 0.0, LOOSE: 0.0, BAR: 1.0, NO_BAR: 0.0}, weights={BAR: 2.0})
    assert both.without(TREE.by_key["t03_bar"]) == Morphology(fractions={TIGHT: 1.0, MEDIUM: 0.0, LOOSE: 0.0})


def test_blend_is_linear_where_both_know_and_keeps_what_one_knows() -> None:
    start, end = bar(1.0, 2.0, "sdss"), bar(0.0, survey="efigi")
    quarter = start.blend(end, 0.25)
    assert quarter.fractions == {BAR: 0.75, NO_BAR: 0.25}
    assert quarter.weights == {BAR: 1.75}
    assert (quarter.survey, start.blend(end, 0.51).survey) == ("sdss", "efigi")
    assert start.blend(end, 0.0) == start and start.blend(end, 1.0) == end
    wound = Morphology(fractions={TIGHT: 1.0, MEDIUM: 0.0, LOOSE: 0.0}, weights={TIGHT: 3.0})
    for amount in (0.0, 0.5, 1.0):
        mixed = bar(1.0, 2.0).blend(wound, amount)
        assert mixed.fractions == {**bar(1.0).fractions, **wound.fractions}
        assert mixed.weights == {BAR: 2.0, TIGHT: 3.0}


@pytest.mark.parametrize("amount", [-0.1, 1.1, math.nan])
def test_blend_refuses_amounts_off_the_line(amount: float) -> None:
    with pytest.raises(InputError, match="outside"):
        bar(1.0).blend(bar(0.0), amount)


def test_real_rows_become_morphologies(galaxy_data: Path) -> None:
    import polars as pl

    table = pl.read_csv(galaxy_data / "gz2_petrosian" / "catalogue.csv.gz", infer_schema_length=None)
    rows = table.select([pl.col(f"{column}_weighted_fraction").alias(column) for column in TREE.columns]).to_dicts()
    morphologies = [Morphology.from_row(row, TREE, "sdss-r90") for row in rows[:200]]
    assert all("t01_smooth_or_features" in morphology.known(TREE) for morphology in morphologies)
    for morphology in morphologies:
        assert sum(morphology.rounded(TREE).fractions.values()) == len(morphology.rounded(TREE).known(TREE)) > 0


@pytest.mark.parametrize(
    ("amount", "said"),
    [(None, "not a NoneType"), ("0.5", "not a str"), (1.5, r"1.5 is outside \[0, 1\]"), (math.nan, "nan is outside")],
)
def test_blend_refuses_an_amount_that_is_none(amount: Any, said: str) -> None:
    with pytest.raises(InputError, match=f"blend: .*{said}"):
        bar(0.0).blend(bar(1.0), amount)


def test_blend_needs_a_morphology_and_takes_numbers_of_numpy() -> None:
    other: Any = "bar"
    with pytest.raises(InputError, match="blend: expected a Morphology to go to, not a str"):
        bar(0.0).blend(other, 0.5)
    assert bar(0.0).blend(bar(1.0), np.float64(0.5)) == bar(0.5)
    assert bar(0.0).blend(bar(1.0), np.int64(1)) == bar(1.0)
    assert bar(0.0).blend(bar(1.0), np.float32(0.5)) == bar(0.5)
