"""The glossary: every phrase once, with its question and what stands behind it."""

import io

import pytest
from rich.console import Console

from galaxysd.catalog.tree import DecisionTree
from galaxysd.prompts import Glossary, Vocabulary, asking_order, glossary, parse, render_glossary

TREE = DecisionTree.load("gz2").union(DecisionTree.load("efigi"))
WORDS = Vocabulary.load(TREE, ["sdss", "hsc"])
EVIDENCE = {"t01_smooth_or_features_a01_smooth": 12345, "t04_spiral_a08_spiral": 100, "t11_arms_number_a32_2": 99}


def test_every_phrase_is_listed_once_under_its_question() -> None:
    found = glossary(WORDS, EVIDENCE)
    assert tuple(question.question for question in found.questions) == asking_order(TREE)
    listed = [
        *found.surveys,
        *(phrase for q in found.questions for a in q.answers for phrase in (a.phrase, *a.synonyms)),
        *(wording for compound in found.compounds for wording in compound.wordings),
    ]
    assert sorted(listed) == sorted(WORDS.listed())
    for question in found.questions:
        assert tuple(answer.answer for answer in question.answers) == TREE.by_key[question.question].columns
        assert question.text == TREE.by_key[question.question].text


def test_compounds_of_one_meaning_stand_together() -> None:
    found = glossary(WORDS, EVIDENCE)
    (entry,) = [compound for compound in found.compounds if "Sb" in compound.wordings]
    assert {"Sb", "Sbc"} <= set(entry.wordings)
    for compound in found.compounds:
        for wording in compound.wordings:
            assert parse(wording, WORDS) == parse(", ".join(compound.says), WORDS)


def test_training_galaxies_and_thin_labels() -> None:
    found = glossary(WORDS, EVIDENCE)
    answers = {answer.phrase: answer for question in found.questions for answer in question.answers}
    assert (answers["smooth"].seen, answers["smooth"].thin) == (12345, False)
    assert (answers["spiral galaxy"].seen, answers["spiral galaxy"].thin) == (100, False)
    assert (answers["2 spiral arms"].seen, answers["2 spiral arms"].thin) == (99, True)
    assert (answers["merger"].seen, answers["merger"].thin) == (0, True)
    (grand,) = [compound for compound in found.compounds if "grand design" in compound.wordings]
    assert (grand.seen, grand.thin) == (99, True), "of several answers the rarest counts"


def test_without_evidence_nothing_is_thin() -> None:
    found = glossary(WORDS)
    entries = [*(answer for question in found.questions for answer in question.answers), *found.compounds]
    assert {(entry.seen, entry.thin) for entry in entries} == {(None, False)}


def test_json_round_trip() -> None:
    found = glossary(WORDS, EVIDENCE)
    assert Glossary.model_validate_json(found.model_dump_json()) == found


def rendered(evidence: dict[str, int] | None, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(render_glossary(glossary(WORDS, evidence)))
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [60, 80, 160])
def test_rendering_shows_everything(width: int) -> None:
    page = rendered(EVIDENCE, width)
    for text in (
        "0.2 arcsec",
        "12,345",
        "thin  99",
        "never seen",
        "tightly wound",
        "Hubble stage",
        "grand design",
        "SBb",
    ):
        assert text in page
    assert "How many spiral arms are there?" in page
    assert max(len(line) for line in page.splitlines()) <= width


def test_rendering_without_evidence_says_nothing_of_it() -> None:
    page = rendered(None, 100)
    assert "never seen" not in page and "thin:" not in page and "spiral galaxy" in page


def test_a_vocabulary_of_few_words() -> None:
    tree = DecisionTree.parse({"name": "own", "questions": [{"key": "q", "text": "?", "answers": ["x", "y"]}]}, "own")
    found = glossary(Vocabulary.load(tree, []), {"q_x": 3})
    assert found.surveys == {} and found.compounds == ()
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(render_glossary(found))
    assert "thin  3" in console.file.getvalue()  # type: ignore[attr-defined]
