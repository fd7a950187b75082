"""Labels told by eye: what the table holds, and that it never overrules votes."""

import re
from pathlib import Path

import numpy as np
import pytest

from galaxysd.catalog import DecisionTree
from galaxysd.catalog.labels import ARMS, WINDING, read_arm_labels
from galaxysd.data.dataset import Dataset
from galaxysd.diffusion import data
from galaxysd.diffusion.data import DataSettings, GalaxyPool

THREE, TIGHT = ARMS["3"], WINDING["t"]
VOTED = DataSettings(min_votes=1, min_reach=0)


def column(pool: GalaxyPool, name: str) -> int:
    return pool.tree.columns.index(name)


def question(pool: GalaxyPool, name: str) -> int:
    return pool.tree.questions.index(pool.tree.question_of[name])


def test_the_table_names_answers_of_the_tree_and_no_image() -> None:
    labels, tree = read_arm_labels(), DecisionTree.load("gz2")
    assert len(labels) > 100
    assert all(answers and set(answers) <= set(tree.columns) for answers in labels.values())
    assert all(re.fullmatch(r"[a-z0-9-]+:[A-Za-z0-9]+", galaxy) for galaxy in labels)
    assert {ARMS[arms] for arms in "234"} <= {answer for answers in labels.values() for answer in answers}


def test_labels_fill_in_what_no_vote_says(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = GalaxyPool([Dataset.open(toy)], "train", VOTED, tmp_path)
    arms = question(plain, THREE)
    voted = np.flatnonzero(plain.known[:, arms])
    silent = np.flatnonzero(~plain.known[:, arms])
    assert len(voted) and len(silent)
    labels = {plain.ids[row]: (THREE, TIGHT) for row in (voted[0], silent[0])}
    labels |= {"toy:nobody": (THREE,), plain.ids[silent[1]]: ("an_answer_of_another_tree",)}
    monkeypatch.setattr(data, "read_arm_labels", lambda: labels)

    told = GalaxyPool([Dataset.open(toy)], "train", VOTED.model_copy(update={"arm_labels": True}), tmp_path)
    assert np.array_equal(told.fractions[voted[0]], plain.fractions[voted[0]])  # votes stand
    row, answers = silent[0], [column(told, name) for name in told.tree.question_of[THREE].columns]
    assert told.known[row, arms] and told.fractions[row, column(told, THREE)] == 1
    assert told.fractions[row, answers].sum() == 1
    assert told.known[row, question(told, TIGHT)] and told.fractions[row, column(told, TIGHT)] == 1
    others = np.setdiff1d(np.arange(len(plain)), [row])
    assert np.array_equal(told.fractions[others], plain.fractions[others])
    assert np.array_equal(told.known[others], plain.known[others])
    assert told.evidence()[THREE] == plain.evidence()[THREE] + 1


def test_without_being_asked_for_labels_are_not_used(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "read_arm_labels", lambda: pytest.fail("read"))
    assert not DataSettings().arm_labels
    GalaxyPool([Dataset.open(toy)], "train", VOTED, tmp_path)
