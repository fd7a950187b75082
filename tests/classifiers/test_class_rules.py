"""Rules give each galaxy the first class whose condition it meets."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxysd.catalog.catalog import Catalog
from galaxysd.catalog.readers.table import complete
from galaxysd.catalog.tree import DecisionTree
from galaxysd.classifiers.class_rules import ClassRule, ClassRules, label
from galaxysd.errors import InputError
from galaxysd.prompts import Vocabulary, parse

TREE = DecisionTree.load("gz2")
GZ2 = ClassRules.load("gz2")


def catalog(rows: list[dict[str, float]], extra: dict[str, list[float]] | None = None) -> Catalog:
    """Galaxies that answer with 1 where told, and 0 to the other answers of the same question."""
    full = []
    for index, row in enumerate(rows):
        told: dict[str, object] = {"id": str(index), "file": None, "ra": None, "dec": None}
        for question in TREE.questions:
            if any(column in row for column in question.columns):
                rest = 1 - sum(row.get(column, 0) for column in question.columns)
                others = [column for column in question.columns if column not in row]
                told |= {column: row.get(column, rest / max(len(others), 1)) for column in question.columns}
        told |= {name: value for name, value in row.items() if name.endswith("_votes")}
        full.append(told)
    frame = complete(pl.DataFrame(full, infer_schema_length=None), TREE)
    return Catalog(
        frame.with_columns(**{key: pl.Series(values) for key, values in (extra or {}).items()}), TREE, "sdss"
    )


SMOOTH, FEATURED = "t01_smooth_or_features_a01_smooth", "t01_smooth_or_features_a02_features_or_disk"
SPIRAL = {FEATURED: 0.9, "t02_edgeon_a05_no": 0.9, "t04_spiral_a08_spiral": 0.9}
RING = {"t06_odd_a14_yes": 0.8, "t08_odd_feature_a19_ring": 0.8}
KINDS = {
    "round": {SMOOTH: 0.8, "t07_rounded_a16_completely_round": 0.8},
    "in-between": {SMOOTH: 0.8, "t07_rounded_a17_in_between": 0.8},
    "cigar": {SMOOTH: 0.8, "t07_rounded_a18_cigar_shaped": 0.8},
    "edge-on": {FEATURED: 0.8, "t02_edgeon_a04_yes": 0.8},
    "unbarred spiral": {**SPIRAL, "t03_bar_a07_no_bar": 0.8},
    "barred spiral": {**SPIRAL, "t03_bar_a06_bar": 0.8},
    "ring": RING,
    "merger": {"t06_odd_a14_yes": 0.8, "t08_odd_feature_a24_merger": 0.8},
}


def test_each_kind_has_its_class() -> None:
    assert set(GZ2.names) == set(KINDS)
    found = label(catalog(list(KINDS.values())), GZ2)
    assert [GZ2.names[index] for index in found] == list(KINDS)


def test_rare_kinds_come_first_and_unclear_ones_have_none() -> None:
    barred_ring = {**KINDS["barred spiral"], **RING}
    unclear = {SMOOTH: 0.55, "t07_rounded_a16_completely_round": 0.9}
    few_votes = {**KINDS["barred spiral"], "t03_bar_votes": 4}
    enough = {**KINDS["barred spiral"], "t03_bar_votes": 5}
    found = label(catalog([barred_ring, unclear, few_votes, enough, {}]), GZ2)
    assert [GZ2.names[index] if index >= 0 else None for index in found] == ["ring", None, None, "barred spiral", None]


@pytest.mark.parametrize("name", ["gz2", "efigi_bar"])
def test_prompts_of_built_in_rules_are_understood(name: str) -> None:
    tree = TREE.union(DecisionTree.load("efigi"))
    vocabulary = Vocabulary.load(tree, ("sdss",))
    for rule in ClassRules.load(name).classes:
        assert parse(f"sdss, {rule.prompt}", vocabulary).fractions


def test_prompts_ask_for_what_their_own_rule_wants() -> None:
    vocabulary = Vocabulary.load(TREE, ("sdss",))
    for index, rule in enumerate(GZ2.classes):
        asked = parse(rule.prompt, vocabulary).fractions
        told = {**({"t06_odd_a14_yes": 1.0} if rule.name in ("ring", "merger") else {}), **asked}
        assert label(catalog([dict(told)]), GZ2)[0] == index, rule.name


def test_bars_of_efigi() -> None:
    rules = ClassRules.load("efigi_bar")
    columns = {
        "source_Bar_Length": [0.5, 0.0, 0.25, -1.0, 1.0, 1.0],
        "source_Inclination": [0.5, 0.25, 0.0, 0.0, 0.75, 0.0],
        "source_T": [3.0, 3.0, 3.0, 3.0, 3.0, -5.0],
    }
    found = label(catalog([{}] * 6, columns), rules)
    assert found.tolist() == [0, 1, -1, -1, -1, -1]
    assert (label(catalog([{}]), rules) == -1).all()  # a catalogue without these columns


@settings(max_examples=20)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_every_galaxy_meets_the_rule_of_its_class_and_no_earlier_one(values: list[float]) -> None:
    cuts = (0.8, 0.5, 0.2)
    rules = ClassRules(
        name="steps", classes=tuple(ClassRule(name=f"over {cut}", where=f"{SMOOTH} >= {cut}") for cut in cuts)
    )
    found = label(catalog([{SMOOTH: value} for value in values]), rules)
    single = np.float32(values)
    expected = [next((index for index, cut in enumerate(cuts) if value >= cut), -1) for value in single]
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("where", "said"),
    [(f"{SMOOTH} >=", "class 'a': condition"), (SMOOTH, "true or false per galaxy"), ("1 = 1 = 'x' +", "class 'a'")],
)
def test_bad_conditions_are_named(where: str, said: str) -> None:
    rules = ClassRules(name="bad", classes=(ClassRule(name="a", where=where), ClassRule(name="b", where="id = '1'")))
    with pytest.raises(InputError, match=said):
        label(catalog([{}]), rules)


def test_bad_rules_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither built in \(efigi_bar, gz2\) nor a YAML file"):
        ClassRules.load("gz3")
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nclasses:\n- {name: a, where: id = '1'}\n- {name: a, where: id = '2'}\n")
    with pytest.raises(InputError, match="class 'a' is defined twice"):
        ClassRules.load(path)
    path.write_text("name: mine\nclasses:\n- {name: a, where: id = '1'}\n")
    with pytest.raises(InputError, match="at least 2 items"):
        ClassRules.load(path)
